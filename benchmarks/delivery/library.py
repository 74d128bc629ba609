"""The same history in the event store of the library ``eventsourcing``, selected and mapped."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import Application
from eventsourcing.domain import DomainEvent

from benchmarks.delivery.raw import PAGE, Pass
from benchmarks.notifications import write_status

FILL = 500  # events recorded at once


@dataclass(frozen=True)
class Received(DomainEvent):
    """A status, of the aggregate that is its recipient.

    Attributes:
        body: Of the notification, decoded.
    """

    body: dict[str, Any]


class History:
    """An application of the library, and one status of each of ``recipients`` in it.

    Args:
        environment: Where it stores.
        recipients: As a log is filled from them.
    """

    def __init__(self, environment: Mapping[str, str], recipients: Iterable[int]) -> None:
        self._application = Application[UUID](env=environment)
        mapper, recorder = self._application.mapper, self._application.recorder
        events = _make_events(recipients)
        while some := [mapper.to_stored_event(one) for one in islice(events, FILL)]:
            recorder.insert_events(some)

    def read(self, *, events: int) -> Pass:
        """Select the first ``events`` a page at a time, and map each to its domain event."""
        select, map_ = (
            self._application.recorder.select_notifications,
            self._application.mapper.to_domain_event,
        )
        began, cpu = time.perf_counter(), time.process_time()
        start = seen = 0
        while found := select(start, PAGE, events, inclusive_of_start=False):
            for notification in found:
                _do_nothing(map_(notification))
                seen += 1
            start = found[-1].id
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        if seen != events:
            raise RuntimeError(f"{seen} events instead of {events}: the run is void")
        return Pass(seen / took, cpu / seen * 1e6)

    def close(self) -> None:
        """Let go of its connections."""
        self._application.close()


def _make_events(recipients: Iterable[int]) -> Iterator[Received]:
    versions: dict[int, int] = {}
    for number, recipient in enumerate(recipients):
        versions[recipient] = version = versions.get(recipient, 0) + 1
        yield Received(
            originator_id=uuid5(NAMESPACE_URL, str(recipient)),
            originator_version=version,
            timestamp=datetime.now(UTC),
            body=json.loads(write_status(number, recipient)),
        )


def _do_nothing(_event: object) -> None:
    pass
