"""The agenda of a delivery: what is parked, by the time at which it is tried again."""

import heapq
from collections.abc import Iterator

from router.parking import Parked


class Agenda:
    """Parked deliveries that wait for their next attempt."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, int, Parked]] = []  # a heap

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, *parked: Parked) -> None:
        """Take deliveries that are to be tried again."""
        for one in parked:
            heapq.heappush(self._waiting, (one.next_at or 0, one.position, one))

    def drop(self, positions: set[int]) -> None:
        """Forget the deliveries of the events at ``positions``."""
        self._waiting = [one for one in self._waiting if one[1] not in positions]
        heapq.heapify(self._waiting)

    def take_due(self, now: int) -> Iterator[Parked]:
        """Yield, and no longer hold, what is due ``now``, in microseconds since 1970."""
        while self._waiting and self._waiting[0][0] <= now:
            yield heapq.heappop(self._waiting)[2]

    def seconds_to_next(self, now: int) -> float | None:
        """How long until the next one is due; None if there is none."""
        if not self._waiting:
            return None
        return max(0.0, (self._waiting[0][0] - now) / 1_000_000)
