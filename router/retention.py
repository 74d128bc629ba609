"""How long history is kept: old events that nobody needs any more are counted, then deleted."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec
from sqlalchemy import Connection, Select, delete, func, select

from router import audit
from router.events import as_micros, as_rfc3339
from router.replay_states import FINISHED
from router.store import Store

CHUNK = 1_000  # events a transaction
SHORTEST_PAUSE = 0.01  # seconds between two transactions, so that appends get their turn


class Plan(msgspec.Struct, frozen=True):
    """What would be deleted, counted before anything is.

    Attributes:
        before: Events received before this time go.
        floor: The first position that is still needed, and so are all above it.
        last: The highest position that goes; 0 where none does.
        by_type: How many events go, by type.
    """

    before: datetime
    floor: int
    last: int
    by_type: Mapping[str, int]

    @property
    def total(self) -> int:
        """How many events go."""
        return sum(self.by_type.values())


class Retention:
    """Deletes old events and their notifications; the head and the dedupe memory stay as they are.

    Kept, however old, are the positions from the lowest one that somebody may still read: of all
    checkpoints, of what is blocked or parked (dead letters, too), and of replays that have not
    ended.

    Args:
        store: The database.
        sleep: Waits for some seconds.
        clock: Seconds, to measure how long a transaction took.
    """

    def __init__(
        self,
        store: Store,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._tables = store.tables
        self._sleep = sleep
        self._clock = clock

    def plan(self, before: datetime) -> Plan:
        """Count what would go of the events received before ``before``."""
        event, notification = self._tables.event, self._tables.notification
        with self._store.reading() as connection:
            floor = self._find_floor(connection)
            query = (
                select(event.c.type, func.count(), func.max(event.c.position))
                .join(notification, notification.c.id == event.c.notification_id)
                .where(event.c.position < floor, notification.c.received_at < as_micros(before))
                .group_by(event.c.type)
                .order_by(event.c.type)
            )
            rows = connection.execute(query).all()
        return Plan(
            before=before,
            floor=floor,
            last=max((last for _, _, last in rows), default=0),
            by_type={type_: count for type_, count, _ in rows},
        )

    def prune(
        self, plan: Plan, *, by: str, on_progress: Callable[[int], None] = lambda _: None
    ) -> dict[str, int]:
        """Delete what was planned, and return how many events went, by type.

        Fewer go if somebody has come to need them meanwhile. Cut short, it leaves the log sound,
        and the next time goes on where it ended.

        Args:
            plan: What may go.
            by: Who wants it, for the record.
            on_progress: Told after each transaction how many events have gone by then.
        """
        gone: Counter[str] = Counter()
        after = 0
        self._write_down(plan, by=by)
        while after < plan.last:
            began = self._clock()
            with self._store.writing() as connection:
                # Somebody may have come to need what nobody needed when it was planned.
                floor = min(plan.floor, self._find_floor(connection))
                plan = msgspec.structs.replace(plan, floor=floor, last=min(plan.last, floor - 1))
                after = self._delete_events(connection, plan, after=after, gone=gone)
            on_progress(gone.total())
            self._pause(began)
        self._delete_notifications(plan)
        return dict(sorted(gone.items()))

    def _find_floor(self, connection: Connection) -> int:
        """Return the lowest position that somebody may still read.

        Where each query has a state of its own, their order matters, for owners go on meanwhile: a
        checkpoint moves past an event only with the transaction that parks it or blocks its subject
        or after that one, so that whoever has seen the checkpoint finds these. New lanes and
        replays, which may begin anywhere, come in transactions that exclude this one.
        """
        tables = self._tables
        replay = tables.replay
        queries: list[Select[int | None]] = [
            select(tables.head.c.position + 1),
            select(func.min(tables.lane.c.checkpoint)),
            select(func.min(tables.blocked.c.position)),
            select(func.min(tables.parked.c.position)),
            select(func.min(replay.c.from_position)).where(replay.c.state.not_in(FINISHED)),
        ]
        found = [connection.scalars(query).one() for query in queries]
        return min(position for position in found if position is not None)

    def _write_down(self, plan: Plan, *, by: str) -> None:
        detail = {
            "before": as_rfc3339(plan.before),
            "floor": plan.floor,
            "last": plan.last,
            "total": plan.total,
        }
        with self._store.writing() as connection:
            audit.record(
                connection,
                self._store,
                actor=by,
                action="db prune",
                target="events",
                detail=detail,
            )

    def _delete_events(
        self, connection: Connection, plan: Plan, *, after: int, gone: Counter[str]
    ) -> int:
        """Delete what is old among the next events, and return how far one has come."""
        event, notification = self._tables.event, self._tables.notification
        # Old ones are told apart here, not by the query: it is to walk along the positions alone.
        query = (
            select(event.c.position, event.c.type, notification.c.received_at)
            .join(notification, notification.c.id == event.c.notification_id)
            .where(event.c.position > after, event.c.position <= plan.last)
            .order_by(event.c.position)
            .limit(CHUNK)
        )
        rows = connection.execute(query).all()
        old = [row for row in rows if row.received_at < as_micros(plan.before)]
        positions = [row.position for row in old]
        connection.execute(delete(event).where(event.c.position.in_(positions)))
        gone.update(row.type for row in old)
        return rows[-1].position if len(rows) == CHUNK else plan.last

    def _delete_notifications(self, plan: Plan) -> None:
        """Delete the old notifications below the floor that no event points to any more."""
        event, notification = self._tables.event, self._tables.notification
        # Only what was found later points far back; else it is the notification that has events on
        # both sides of the floor.
        pointers = select(event.c.notification_id).where(
            event.c.reparsed.is_(True), event.c.notification_id < plan.floor
        )
        across = select(event.c.notification_id).where(event.c.position == plan.floor)
        highest = select(func.max(notification.c.id)).where(
            notification.c.received_at < as_micros(plan.before), notification.c.id < plan.floor
        )
        with self._store.reading() as connection:
            seen = connection.scalars(select(self._tables.head.c.position)).one()
            last = connection.scalars(highest).one() or 0
            needed = set(connection.scalars(pointers.where(event.c.position >= plan.floor)))
            needed.update(connection.scalars(across))
        after = 0
        while after < last:
            began = self._clock()
            with self._store.writing() as connection:
                needed.update(connection.scalars(pointers.where(event.c.position > seen)))
                after = self._delete_bodies(connection, plan, after=after, last=last, needed=needed)
            self._pause(began)

    def _delete_bodies(
        self, connection: Connection, plan: Plan, *, after: int, last: int, needed: set[int]
    ) -> int:
        """Delete what is old and not ``needed`` among the next notifications, likewise."""
        table = self._tables.notification
        query = (
            select(table.c.id, table.c.received_at)
            .where(table.c.id > after, table.c.id <= last)
            .order_by(table.c.id)
            .limit(CHUNK)
        )
        rows = connection.execute(query).all()
        before = as_micros(plan.before)
        old = [row.id for row in rows if row.received_at < before and row.id not in needed]
        connection.execute(delete(table).where(table.c.id.in_(old)))
        return rows[-1].id if len(rows) == CHUNK else last

    def _pause(self, began: float) -> None:
        """Leave the database to others for as long as one held it."""
        self._sleep(max(SHORTEST_PAUSE, self._clock() - began))
