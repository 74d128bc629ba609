"""What a process has done since it began, in plain numbers that a scrape reads.

The core counts and knows of no way to show it: `router.prometheus` is one. It is told of batches,
but for requests and calls of handlers, each of which costs well below a microsecond.
"""

import copy
import threading
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, Protocol

from router.events import Event

# Seconds: from a quick handler to one that takes all its time, from a good disk to a hanging one.
CALL_BOUNDS = (0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
APPEND_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
BATCH_BOUNDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)


MANY = 1_000  # calls that are added up together: that costs a quarter of each by itself

_source_and_type = attrgetter("notification.source", "type")


class Registry(Protocol):
    """Where collectors are kept, as `prometheus_client.CollectorRegistry` keeps them."""

    def register(self, collector: Any) -> None:  # noqa: ANN401  # its type is not known down here
        """Ask ``collector`` at each scrape."""

    def unregister(self, collector: Any) -> None:  # noqa: ANN401
        """Ask it no more."""


class Spread:
    """How values are spread over some ranges.

    Args:
        bounds: The upper ends of the ranges, ascending; beyond the last there is one more.

    Attributes:
        counts: How many values lie in each range.
        total: Their sum.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, *values: float) -> None:
        """Count some values."""
        for place, number in Counter(map(partial(bisect_left, self.bounds), values)).items():
            self.counts[place] += number
        self.total += sum(values)


@dataclass(slots=True)
class Readings:
    """All numbers at one moment.

    Attributes:
        received: How many notifications came in, by source; that of an unknown one is "".
        rejected: How many were answered with an error, by source and reason.
        notifications: How many were appended, for at least one new event, by source.
        events: How many events were appended, by source and type.
        known: How many events were left out, since they were in the log already, by source.
        append_seconds: How long batches took to append.
        batch_size: How many notifications they held.
        waiting: How many notifications wait to be appended.
        deliveries: What came of deliveries, once it was on record, by subscription, run (``live``
            or ``replay``) and outcome (``done`` or ``failed``).
        call_seconds: How long calls of handlers took, by subscription and outcome.
    """

    received: Counter[str] = field(default_factory=Counter)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    notifications: Counter[str] = field(default_factory=Counter)
    events: Counter[tuple[str, str]] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    append_seconds: Spread = field(default_factory=lambda: Spread(APPEND_BOUNDS))
    batch_size: Spread = field(default_factory=lambda: Spread(BATCH_BOUNDS))
    waiting: int = 0
    deliveries: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    call_seconds: dict[tuple[str, str], Spread] = field(default_factory=dict)


class Meters:
    """Counts what is done, on whatever thread.

    Attributes:
        count_waiting: Says how many notifications wait; whoever lets them wait puts it here.
    """

    def __init__(self) -> None:
        self.count_waiting: Callable[[], int] = lambda: 0
        self._sums = Readings()
        self._took: dict[tuple[str, str], deque[float]] = {}  # seconds of calls, not added up yet
        self._lock = threading.Lock()

    def receive(self, source: str) -> None:
        """Count a notification that came in."""
        with self._lock:
            self._sums.received[source] += 1

    def reject(self, source: str, reason: str) -> None:
        """Count a notification that is answered with an error."""
        with self._lock:
            self._sums.rejected[source, reason] += 1

    def append(
        self,
        appended: Sequence[Sequence[Event]],
        *,
        known: Mapping[str, int],
        size: int,
        took: float,
    ) -> None:
        """Count a batch.

        Args:
            appended: The new events of each notification.
            known: How many events were known, by source.
            size: How many notifications it held.
            took: How many seconds it took.
        """
        events = Counter(map(_source_and_type, chain.from_iterable(appended)))
        notifications = Counter(new[0].notification.source for new in appended if new)
        with self._lock:
            self._sums.notifications.update(notifications)
            self._sums.events.update(events)
            self._sums.known.update(known)
            self._sums.append_seconds.add(took)
            self._sums.batch_size.add(size)

    def deliver(self, subscription: str, run: str, outcomes: Mapping[str, int]) -> None:
        """Count deliveries whose outcomes are on record."""
        with self._lock:
            for outcome, number in outcomes.items():
                self._sums.deliveries[subscription, run, outcome] += number

    def call(self, subscription: str, outcome: str, seconds: float) -> None:
        """Count a call of a handler."""
        key = subscription, outcome
        took = self._took.get(key)
        if took is None:
            took = self._took.setdefault(key, deque())  # at once: another thread may do the same
        took.append(seconds)
        if len(took) >= MANY:
            with self._lock:
                self._add_up()

    def read(self) -> Readings:
        """Return how things stand, as a copy."""
        with self._lock:
            self._add_up()
            found = copy.deepcopy(self._sums)
        found.waiting = self.count_waiting()
        return found

    def _add_up(self) -> None:
        for key, took in self._took.copy().items():
            spread = self._sums.call_seconds.setdefault(key, Spread(CALL_BOUNDS))
            spread.add(*[took.popleft() for _ in range(len(took))])
