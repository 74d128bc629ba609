"""Rests: how long what broke off is left alone, lest it fail at once again and fill the log."""

REST = 1_000_000  # microseconds
LONGEST = 60_000_000


class Rests:
    """The rests of the subscriptions of a worker, each longer than the last."""

    def __init__(self) -> None:
        self._rests: dict[str, tuple[int, int]] = {}  # how long, until when; in microseconds

    def is_over(self, name: str, *, now: int) -> bool:
        """Whether ``name`` may be tried again at ``now``, in microseconds since 1970."""
        return self._rests.get(name, (0, 0))[1] <= now

    def begin(self, name: str, *, now: int) -> float:
        """Let ``name`` rest, twice as long as the last time unless that is long ago.

        Returns:
            For how many seconds.
        """
        pause, until = self._rests.get(name, (0, 0))
        pause = min(2 * pause, LONGEST) if now < until + LONGEST else REST
        self._rests[name] = pause, now + pause
        return pause / 1_000_000
