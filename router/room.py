"""Room: how much deliveries may hold at a time of what they have read and not settled."""

from collections.abc import Iterator
from contextlib import contextmanager

WINDOW = 1_000  # events; one slow subject holds up others only this far on
BYTES = 32 * 1024 * 1024  # of bodies; a single one may be larger
LEAST_EVENTS = 16  # however many share it
LEAST_BYTES = 256 * 1024


class Room:
    """What several deliveries share evenly, though none has more than one alone would have.

    Args:
        events: For all of them.
        size: Bytes of bodies, likewise.
    """

    def __init__(self, *, events: int = WINDOW, size: int = BYTES) -> None:
        self._events = events
        self._bytes = size
        self._sharing = 0

    @property
    def events(self) -> int:
        """How many events one of them may hold."""
        share = self._events // max(1, self._sharing)
        return max(LEAST_EVENTS, min(WINDOW, share))

    @property
    def bytes(self) -> int:
        """How many bytes of bodies one of them may hold."""
        share = self._bytes // max(1, self._sharing)
        return max(LEAST_BYTES, min(BYTES, share))

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Share it for the length of a ``with`` block."""
        self._sharing += 1
        try:
            yield
        finally:
            self._sharing -= 1
