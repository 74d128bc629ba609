"""What is seen inside a router that is measured: when it answered 200, and when handlers began."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

PERIOD = 0.25  # seconds between two samples


class Sample(msgspec.Struct, frozen=True):
    """How far a router was at one moment.

    Attributes:
        seconds: By a clock that only goes forward.
        answered: How many notifications were answered 200 so far.
        started: How many of their events the subscription that is furthest behind has begun.
    """

    seconds: float
    answered: int
    started: int


class Seen(msgspec.Struct, frozen=True):
    """All that was seen.

    Attributes:
        waits: Pairs of the seconds at which a 200 was sent, and from then to the first
            subscription's handler; less than 0 where that was sooner.
        samples: In order.
    """

    waits: Sequence[tuple[float, float]]
    samples: Sequence[Sample]


class Sightings:
    """Notes moments, by ids of messages; one for a process."""

    def __init__(self) -> None:
        self._answers: dict[str, float] = {}
        self._starts: list[tuple[str, float]] = []
        self._counts: dict[str, int] = {}
        self._first = ""
        self._samples: list[Sample] = []
        self._is_over = threading.Event()

    def expect(self, subscription: str) -> None:
        """Count the events of a subscription from now on; of the first, each moment is kept."""
        self._first = self._first or subscription
        self._counts[subscription] = 0

    def answer(self, key: str) -> None:
        """Note that the notification of a message was answered 200."""
        self._answers[key] = time.perf_counter()

    def start(self, subscription: str, key: str) -> None:
        """Note that a handler was called."""
        self._counts[subscription] += 1
        if subscription == self._first:
            self._starts.append((key, time.perf_counter()))

    def take_samples(self) -> None:
        """Take a sample each quarter of a second until `finish`."""
        while not self._is_over.wait(PERIOD):
            started = min(self._counts.values(), default=0)
            self._samples.append(Sample(time.perf_counter(), len(self._answers), started))

    def finish(self, file: Path) -> None:
        """Write down all that was seen."""
        self._is_over.set()
        answers = self._answers
        waits = [
            (answers[key], moment - answers[key]) for key, moment in self._starts if key in answers
        ]
        file.write_bytes(msgspec.json.encode(Seen(waits, self._samples)))


SIGHTINGS = Sightings()
