"""What a check is given, what it says, and the words in which it does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

from router.schema import Tables
from router.store import Store

SHOWN = 3  # of the things that are wrong in one way; the others are counted


class Finding(msgspec.Struct, frozen=True):
    """What one check found.

    Attributes:
        check: Its name.
        is_sound: Whether there is nothing to do.
        text: What was found. No subject and no payload: people show this to others.
        advice: What to do about it; empty where nothing is.
    """

    check: str
    is_sound: bool
    text: str
    advice: str = ""

    def as_dict(self) -> dict[str, object]:
        """The finding as JSON shows it."""
        return {
            "check": self.check,
            "ok": self.is_sound,
            "text": self.text,
            "advice": self.advice or None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is examined.

    Attributes:
        store: The database.
        is_deep: Whether every event is looked at, rather than the oldest and the newest.
        clock: This machine's, in seconds since 1970.
    """

    store: Store
    is_deep: bool
    clock: Callable[[], float]

    @property
    def tables(self) -> Tables:
        """The log's tables."""
        return self.store.tables


Check = Callable[[Case], Finding]


def judge(check: str, problems: Sequence[str], *, sound: str, advice: str) -> Finding:
    """Return the finding: ``sound`` where there are no ``problems``, else these with ``advice``."""
    if not problems:
        return Finding(check, is_sound=True, text=sound)
    return Finding(check, is_sound=False, text=enumerate_some(problems), advice=advice)


def enumerate_some(things: Sequence[object]) -> str:
    """Return the first few of ``things``, and how many more there are."""
    shown = "; ".join(str(thing) for thing in things[:SHOWN])
    left = len(things) - SHOWN
    return f"{shown}; and {left} more" if left > 0 else shown


def in_words(count: int, noun: str) -> str:
    """Return ``count`` with the noun in its number."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def as_size(size: float) -> str:
    """Return a number of bytes for a person, in the units of `router.config`."""
    for unit in ("bytes", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}" if unit != "bytes" else f"{size:.0f} bytes"
        size /= 1024
    return f"{size:,.1f} GiB"


def as_span(micros: int) -> str:
    """Return a length of time for a person, in the largest unit of which there are two or more."""
    seconds = micros / 1_000_000
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.3g} s"
