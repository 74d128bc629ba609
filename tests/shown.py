"""Commands that the documents show, and what is said of who runs them."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS = ("console", "sh", "bash", "shell")

_BLOCK = re.compile(
    r"(?:^<!-- *(?P<mark>.*?) *-->\n+)?^```(?P<kind>\w+)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_MARK = re.compile(r"^<!-- *((?:not run|run by):? .*?) *-->$", re.MULTILINE)


class Block(NamedTuple):
    """A block of commands.

    Attributes:
        page: Where it stands, from the root of the project.
        line: Its number there.
        mark: Who runs it, or why nobody does; empty where that is left to `test_docs_commands`.
        commands: Its command lines.
    """

    page: str
    line: int
    mark: str
    commands: tuple[str, ...]

    @property
    def name(self) -> str:
        """What a test calls it."""
        return f"{self.page}:{self.line}"


def read_blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of commands of a page, each with its mark, or with that of the page."""
    text = page.read_text("utf-8")
    found = list(_BLOCK.finditer(text))
    above = {block.start() for block in found if block["mark"] is not None}
    of_page = [mark[1] for mark in _MARK.finditer(text) if mark.start() not in above]
    for block in found:
        if block["kind"] in SHELLS:
            line = text.count("\n", 0, block.start("text"))
            mark = block["mark"] or "".join(of_page[:1])
            commands = tuple(read_commands(block["text"], has_prompt=block["kind"] == "console"))
            yield Block(str(page.relative_to(ROOT)), line, mark, commands)


def read_commands(text: str, *, has_prompt: bool) -> Iterator[str]:
    """Yield the command lines of a block; where there is a prompt, the others are answers."""
    for line in text.replace("\\\n", " ").splitlines():
        if has_prompt and line.startswith("$ "):
            yield line.removeprefix("$ ")
        elif not has_prompt and line and not line.startswith("#"):
            yield line


def find_router(command: str) -> list[str] | None:
    """Return the words of a command line from ``router`` on; None where it is another command."""
    words = shlex.split(command, comments=True)
    starts = (["router"], ["uv", "run", "router"])
    return next((words[len(one) - 1 :] for one in starts if words[: len(one)] == one), None)
