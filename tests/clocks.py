"""A clock for tests that move it by hand."""

from router.lane import LEASE_MICROS
from tests.entries import NOON


class StillClock:
    """Stands still at some second past noon until it is put forward.

    Args:
        past: Seconds past noon.

    Attributes:
        now: Its time, in seconds since 1970.
    """

    def __init__(self, *, past: float = 0.0) -> None:
        self.now = NOON.timestamp() + past

    def __call__(self) -> float:
        """Tell it."""
        return self.now

    def put_past_leases(self) -> None:
        """Put it forward by the smallest step after which a lease has expired."""
        self.now += (LEASE_MICROS + 1) / 1_000_000
