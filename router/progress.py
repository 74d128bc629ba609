"""How far a lane has come: the checkpoint, and what is settled above it."""

import json
from bisect import bisect_right
from collections.abc import Iterable


class Progress:
    """Tracks the positions that a lane has taken from the log and not yet settled.

    Everything up to ``cursor`` is settled but for what is pending. So the checkpoint and the
    settled ranges above it are derived from the pending positions, of which there are few.

    Args:
        checkpoint: Settled up to here, on record.
        done: Inclusive ranges settled above it, on record: they are never taken again.
    """

    def __init__(self, checkpoint: int, done: Iterable[tuple[int, int]] = ()) -> None:
        self.cursor = checkpoint
        self._pending: dict[int, None] = {}  # in the order taken, which ascends
        self._done = sorted(done)

    def copy(self) -> "Progress":
        """Return one that goes its own way from here."""
        other = Progress(self.cursor)
        other._pending = dict(self._pending)
        other._done = list(self._done)
        return other

    def take(self, positions: Iterable[int], *, reached: int) -> list[int]:
        """Move the cursor to ``reached`` and return which of ``positions`` are to be handled."""
        fresh = list(positions)
        if self._done:
            fresh = [position for position in fresh if not self._is_done(position)]
        self._pending.update(dict.fromkeys(fresh))
        self.cursor = max(self.cursor, reached)
        self._done = [span for span in self._done if span[1] > self.cursor]
        return fresh

    def settle(self, position: int) -> None:
        """Note that ``position`` needs nothing more here."""
        del self._pending[position]

    def settle_all(self, positions: Iterable[int]) -> None:
        """Note that none of ``positions`` needs anything more here."""
        pending = self._pending
        for position in positions:
            del pending[position]

    def skip(self, position: int) -> None:
        """Settle everything up to ``position``."""
        for one in [one for one in self._pending if one <= position]:
            del self._pending[one]
        self.take((), reached=position)

    def has_pending(self, first: int, last: int) -> bool:
        """Whether any position from ``first`` to ``last`` is taken and not settled."""
        pending = self._pending
        return first in pending or any(one in pending for one in range(first + 1, last + 1))

    @property
    def is_caught_up(self) -> bool:
        """Whether the cursor has passed all that was settled on record when the lane was taken."""
        return not self._done

    @property
    def pending(self) -> int:
        """How many positions are taken and not settled."""
        return len(self._pending)

    @property
    def state(self) -> tuple[int, int]:
        """What tells one state of it from every other."""
        return self.cursor, len(self._pending)

    @property
    def checkpoint(self) -> int:
        """The position up to which everything is settled."""
        first = next(iter(self._pending), None)
        return self.cursor if first is None else first - 1

    @property
    def done(self) -> list[tuple[int, int]]:
        """The inclusive ranges above the checkpoint that are settled."""
        ranges = []
        start = self.checkpoint + 1
        for position in self._pending:
            if position > start:
                ranges.append((start, position - 1))
            start = position + 1
        if self._pending and start <= self.cursor:
            ranges.append((start, self.cursor))
        return ranges + [(max(first, self.cursor + 1), last) for first, last in self._done]

    def _is_done(self, position: int) -> bool:
        at = bisect_right(self._done, position, key=lambda span: span[0])
        return at > 0 and position <= self._done[at - 1][1]


def dump_ranges(ranges: list[tuple[int, int]]) -> str:
    """Return ``ranges`` as `lane.done` keeps them."""
    return json.dumps(ranges, separators=(",", ":"))


def load_ranges(text: str) -> list[tuple[int, int]]:
    """Return the ranges that `dump_ranges` wrote down."""
    return [(first, last) for first, last in json.loads(text)]
