"""What has become of the events that a plugin handles: one delivery each, in order of the log."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Literal, overload

import msgspec
from sqlalchemy import func, select

from router.claims import LIVE
from router.events import Event, from_micros
from router.filters import Filter
from router.log import EventLog
from router.parking import DEAD
from router.testing.harness.calls import Call, Calls

Outcome = Literal["done", "parked", "blocked", "dead", "skipped", "waiting"]


class Delivery(msgspec.Struct, frozen=True):
    """One event and one plugin.

    Attributes:
        event: What is delivered.
        outcome: ``done``: the handler returned; ``parked``: it failed, and is called again at
            ``next_at``; ``blocked``: an earlier event of the same subject is parked; ``dead``: it
            was given up; ``skipped``: passed over without a call; ``waiting``: not called yet.
        attempts: How often the handler was called.
        errors: What those calls raised that did not return.
        next_at: When a parked one is due.
    """

    event: Event
    outcome: Outcome
    attempts: int
    errors: tuple[BaseException, ...] = ()
    next_at: datetime | None = None

    @property
    def error(self) -> str | None:
        """What the last failed call raised, as ``router dead show`` prints it."""
        if not self.errors:
            return None
        last = self.errors[-1]
        return f"{type(last).__name__}: {last}" if str(last) else type(last).__name__


class Deliveries(Sequence[Delivery]):
    """The deliveries to one plugin, in order of the log."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self._deliveries = tuple(deliveries)

    def __len__(self) -> int:
        return len(self._deliveries)

    @overload
    def __getitem__(self, index: int) -> Delivery: ...

    @overload
    def __getitem__(self, index: slice) -> "Deliveries": ...

    def __getitem__(self, index: int | slice) -> "Delivery | Deliveries":
        """Return one, or some."""
        if isinstance(index, slice):
            return Deliveries(self._deliveries[index])
        return self._deliveries[index]

    def __iter__(self) -> Iterator[Delivery]:
        return iter(self._deliveries)

    def __repr__(self) -> str:
        told = [f"{one.event.position} {one.event.type} {one.outcome}" for one in self]
        return f"<{len(self)} deliveries: {', '.join(told)}>"

    @property
    def outcomes(self) -> list[Outcome]:
        """The outcome of each."""
        return [one.outcome for one in self]

    @property
    def done(self) -> "Deliveries":
        """Those whose handler returned."""
        return self._of("done")

    @property
    def parked(self) -> "Deliveries":
        """Those that failed and are tried again."""
        return self._of("parked")

    @property
    def blocked(self) -> "Deliveries":
        """Those that wait behind a parked one of their subject."""
        return self._of("blocked")

    @property
    def dead(self) -> "Deliveries":
        """Those that were given up."""
        return self._of("dead")

    def _of(self, outcome: Outcome) -> "Deliveries":
        return Deliveries([one for one in self if one.outcome == outcome])


def read_deliveries(
    name: str, types: Sequence[str], *, log: EventLog, calls: Calls, replay: int | None
) -> Deliveries:
    """Return what has become of the events that the plugin ``name`` handles.

    Args:
        name: Of the plugin.
        types: Of the events that it handles.
        log: Where progress is on record.
        calls: Of its handlers.
        replay: The id of a replay, for what that has handed over; None for live delivery.
    """
    run = LIVE if replay is None else replay
    record, ended = _Record(log, name, run), calls.find(name, run)
    events = log.read(after=record.start, matching=Filter(types=tuple(types), live=run == LIVE))
    return Deliveries(
        [
            record.judge(event, ended.get(event.position, []))
            for event in events
            if run == LIVE or event.position in ended
        ]
    )


class _Record:
    """What is on record of one run of a subscription."""

    def __init__(self, log: EventLog, name: str, run: int) -> None:
        tables = log.store.tables
        parked, blocked, lane = tables.parked.c, tables.blocked.c, tables.lane.c
        start = select(tables.subscription.c.start_position)
        with log.store.reading() as connection:
            born = connection.scalars(start.where(tables.subscription.c.name == name)).one()
            self.start = born if run == LIVE else 0
            mine = (parked.subscription == name, parked.run == run)
            query = select(parked.position, parked.state, parked.next_at).where(*mine)
            self._parked = {row[0]: (row[1], row[2]) for row in connection.execute(query)}
            mine = (blocked.subscription == name, blocked.run == run)
            self._blocked = set(connection.scalars(select(blocked.subject).where(*mine)))
            mine = (lane.subscription == name, lane.run == run)
            reached = connection.scalars(select(func.min(lane.checkpoint)).where(*mine)).one()
            self._checkpoint = reached or 0

    def judge(self, event: Event, calls: Sequence[Call]) -> Delivery:
        """Return the delivery of an event after these calls."""
        errors = tuple(call.error for call in calls if call.error is not None)
        state, next_at = self._parked.get(event.position, (None, None))
        due = None if next_at is None else from_micros(next_at)
        return Delivery(event, self._name(event, calls, state), len(calls), errors, due)

    def _name(self, event: Event, calls: Sequence[Call], state: str | None) -> Outcome:
        if state is not None:
            return "dead" if state == DEAD else "parked"
        if any(call.error is None for call in calls):
            return "done"
        if event.subject in self._blocked:
            return "blocked"
        return "skipped" if event.position <= self._checkpoint else "waiting"
