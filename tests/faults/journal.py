"""What a plugin wrote down of its calls, and what in it breaks the promise of order.

A life is one process, from its start to its end. The promise, subject by subject:

- In one life calls are never under way at once, and completions ascend: none comes twice.
- Over all lives the *first* completions ascend.

So the only repeat is that of a position which an earlier life had handled: its record died with the
process, and at least once is what such a plugin is promised.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple


class Line(NamedTuple):
    """One line of a journal: in which life a call began, failed or handled its event."""

    life: int
    word: str
    position: int
    subject: str


class Journal:
    """A plugin's journal, read as it grows.

    Attributes:
        lines: What was read so far.
        handled: How often each position was.
    """

    def __init__(self, path: Path) -> None:
        self.lines: list[Line] = []
        self.handled: Counter[int] = Counter()
        self._path = path
        self._read = 0

    def refresh(self) -> None:
        """Read what is new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            fresh, _, _ = file.read().rpartition(b"\n")
        if not fresh:
            return
        self._read += len(fresh) + 1
        lines = [_parse(text) for text in fresh.decode().splitlines()]
        self.lines += lines
        self.handled.update(line.position for line in lines if line.word == "handled")

    @property
    def lives(self) -> int:
        """How many processes wrote it."""
        return len({line.life for line in self.lines})

    @property
    def repeats(self) -> int:
        """How many completions were not the first of their position."""
        return self.handled.total() - len(self.handled)


def find_breaches(lines: Iterable[Line], *, is_record_kept: bool = True) -> Iterator[str]:
    """Yield a sentence for each breach of the promise that this module states.

    Args:
        lines: What was written down.
        is_record_kept: Whether what a life has recorded is there as long as it lives; if not, it
            may handle a position again.
    """
    orders: dict[str, _Order] = {}
    for line in lines:
        order = orders.setdefault(line.subject, _Order())
        breach = (
            order.begin(line)
            if line.word == "began"
            else order.end(line, is_record_kept=is_record_kept)
        )
        if breach:
            yield f"{line}: {breach}"


@dataclass(slots=True)
class _Life:
    """What one life has done for one subject."""

    is_running: bool = False
    latest: int = 0  # completed


@dataclass(slots=True)
class _Order:
    """How far one subject has come.

    A life may end after the next one has begun: its process stood still while its lease expired.
    """

    lives: defaultdict[int, _Life] = field(default_factory=lambda: defaultdict(_Life))
    handled: set[int] = field(default_factory=set)  # in any life
    furthest: int = 0  # of those

    def begin(self, line: Line) -> str:
        life = self.lives[line.life]
        breach = "begun beside another of its subject" if life.is_running else ""
        life.is_running = True
        return breach

    def end(self, line: Line, *, is_record_kept: bool) -> str:
        life = self.lives[line.life]
        life.is_running = False
        if line.word != "handled":
            return ""
        before, life.latest = life.latest, line.position
        furthest, self.furthest = self.furthest, max(self.furthest, line.position)
        is_first = line.position not in self.handled
        self.handled.add(line.position)
        if is_record_kept and line.position <= before:
            return f"handled after {before} in the same life"
        if is_first and line.position < furthest:
            return f"handled for the first time after {furthest}"
        return ""


def _parse(text: str) -> Line:
    life, word, position, subject = text.split(" ", 3)
    return Line(int(life), word, int(position), subject)
