"""Rests: how long what broke off is left alone, lest it fail at once again and fill the log."""

from collections.abc import Callable

REST = 1_000_000  # microseconds
LONGEST = 60_000_000


class Rests:
    """The rests of the subscriptions of a worker, each longer than the last.

    Args:
        now: Microseconds since 1970.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._rests: dict[str, tuple[int, int]] = {}  # how long, until when; in microseconds

    def is_over(self, name: str) -> bool:
        """Whether ``name`` may be tried again."""
        return self._rests.get(name, (0, 0))[1] <= self._now()

    def begin(self, name: str) -> float:
        """Let ``name`` rest, twice as long as the last time unless that is long ago.

        Returns:
            For how many seconds.
        """
        now = self._now()
        pause, until = self._rests.get(name, (0, 0))
        pause = min(2 * pause, LONGEST) if now < until + LONGEST else REST
        self._rests[name] = pause, now + pause
        return pause / 1_000_000
