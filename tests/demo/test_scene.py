"""The scene: what it draws with and without colours, Unicode and room."""

import io

import pytest
from rich.console import Console
from rich.text import Text

from router.demo.scene import WIDEST, Scene


def draw(*, width: int = 60, encoding: str = "utf-8", is_terminal: bool = False) -> "Drawing":
    """A scene and the bytes that it writes."""
    return Drawing(width, encoding, is_terminal)


class Drawing:
    """A scene that is drawn into memory."""

    def __init__(self, width: int, encoding: str, is_terminal: bool) -> None:  # noqa: FBT001
        self._bytes = io.BytesIO()
        console = Console(
            file=io.TextIOWrapper(self._bytes, encoding, write_through=True),
            width=width,
            force_terminal=is_terminal,
            color_system="standard" if is_terminal else None,
            highlight=False,
            _environ={},
        )
        self.scene = Scene(console, pause=lambda _: None)

    @property
    def text(self) -> str:
        """What was drawn."""
        return self._bytes.getvalue().decode()


@pytest.mark.parametrize("width", [60, 80, WIDEST, 300])
def test_headings_fill_the_width(width: int) -> None:
    """A heading is as wide as the console, up to where lines become hard to read."""
    drawing = draw(width=width)
    drawing.scene.heading("A customer writes", number=1)
    drawing.scene.heading("What next")

    headings = [line for line in drawing.text.splitlines() if line]
    assert [len(line) for line in headings] == [min(width, WIDEST)] * 2
    assert headings[0].startswith("━━ 1  A customer writes ━")


def test_prose_is_wrapped() -> None:
    """Prose is broken between words and set in."""
    drawing = draw(width=24)
    drawing.scene.say("one two three four five six seven")

    assert drawing.text == "  one two three four\n  five six seven\n"


def test_commands_are_not_broken() -> None:
    """A line that is to be copied stays one line, however narrow the console is."""
    drawing = draw(width=24)
    drawing.scene.line(("router events list --config /a/long/way/to/router.toml", "bold"))

    assert drawing.text == "  router events list --config /a/long/way/to/router.toml\n"


def test_columns_stand_beneath_each_other() -> None:
    """Columns are as wide as their widest cell, numbers to the right, with nothing behind."""
    drawing = draw()
    drawing.scene.columns([["a", Text("1", "bold"), "x"], ["long", "22", ""]], right=[1])

    assert drawing.text == "  a      1  x\n  long  22\n"


def test_code_is_shown_as_it_is() -> None:
    """Code keeps its lines and its own indentation, and has no spaces at the end of a line."""
    drawing = draw(is_terminal=False)
    drawing.scene.code("def f() -> None:\n    pass\n\n\nf()\n", "python")

    assert drawing.text == "    def f() -> None:\n        pass\n\n\n    f()\n"


def test_a_terminal_gets_colours() -> None:
    """On a terminal there are escape codes, and the same words."""
    drawing = draw(is_terminal=True)
    drawing.scene.code("import json", "python")
    drawing.scene.line(("done", "bold green"))

    assert "\x1b[1;32mdone\x1b[0m" in drawing.text
    assert drawing.text.count("\x1b") > 2


def test_ascii_is_enough() -> None:
    """Where only ASCII can be written, nothing else is."""
    drawing = draw(encoding="ascii")
    drawing.scene.heading("What next")
    drawing.scene.line(f"crm {drawing.scene.arrow} done")

    assert drawing.text.isascii()
    assert drawing.text.endswith("  crm -> done\n")
