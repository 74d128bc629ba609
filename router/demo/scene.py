"""How the demo looks: headings, prose, requests, events and columns, on a terminal or as text."""

import textwrap
from collections.abc import Callable, Sequence

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text

WIDEST = 92  # columns: longer lines are hard to read
GAP = 2  # columns between two columns

Part = str | tuple[str, str] | Text  # plain, with its style, or put together

GOOD, BAD = "bold green", "bold magenta"  # styles of how something ended
STYLES = {
    "message": "cyan",
    "sent": "green",
    "delivered": "green",
    "read": "bright_green",
    "error": "red",
    "other": "yellow",
}


class Scene:
    """Shows the demo, line by line.

    Args:
        console: Where; it decides on colours, and what it is told about its width counts.
        pause: Called with seconds, where somebody who reads along wants to catch up.
    """

    def __init__(self, console: Console, *, pause: Callable[[float], None]) -> None:
        self.pause = pause
        self._console = console
        self._width = min(console.width, WIDEST)
        is_unicode = console.encoding.lower().startswith("utf")
        self._bar, self.arrow = ("━", "→") if is_unicode else ("=", "->")

    def heading(self, title: str, *, number: int | None = None) -> None:
        """Begin a new part."""
        text = f" {title} " if number is None else f" {number}  {title} "
        rest = self._bar * max(self._width - len(text) - 2, 2)
        self.line()
        self.line((self._bar * 2, "blue"), (text, "bold"), (rest, "blue"), indent=0)
        self.line()

    def say(self, text: str, *, indent: int = 2) -> None:
        """Say something in prose."""
        for line in textwrap.wrap(text, self._width - indent):
            self.line(line, indent=indent)

    def line(self, *parts: Part, indent: int = 2) -> None:
        """Show one line that is broken only by the terminal itself."""
        text = Text.assemble(*parts)
        if text:
            text = Text(" " * indent) + text
        self._console.print(text, soft_wrap=True)

    def columns(self, rows: Sequence[Sequence[str | Text]], *, right: Sequence[int] = ()) -> None:
        """Show rows whose cells stand beneath each other.

        Args:
            rows: All of one length.
            right: The columns that are set to the right, such as numbers.
        """
        texts = [[Text.assemble(cell) for cell in row] for row in rows]
        widths = [max(text.cell_len for text in column) for column in zip(*texts, strict=True)]
        for row in texts:
            line = Text()
            for at, text in enumerate(row):
                text.align("right" if at in right else "left", widths[at])
                line += text + Text(" " * GAP)
            line.rstrip()
            self.line(line)

    def code(self, code: str, language: str) -> None:
        """Show the text of a program, in colours where there are any."""
        lines = Syntax("", language, theme="ansi_dark").highlight(code.rstrip()).split("\n")
        for line in lines:
            line.rstrip()
            self.line(line, indent=4)
