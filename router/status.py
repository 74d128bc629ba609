"""How subscriptions and workers stand, read from the database alone."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, Select, func, select

from router.claims import LIVE
from router.errors import UnknownName
from router.events import as_rfc3339, from_micros
from router.lane import LEASE_MICROS
from router.options import explain_unknown
from router.parking import DEAD, RETRY
from router.schema import Tables
from router.store import Store


class SubscriptionStatus(msgspec.Struct, frozen=True):
    """How one subscription stands in live delivery; replays are apart from it.

    Attributes:
        checkpoint: Everything up to here is settled: the lowest of its lanes.
        head: The newest position of the log.
        lag: How many positions the checkpoint is behind.
        lag_seconds: How long ago the first event behind the checkpoint was received.
        retrying: How many deliveries wait for another attempt.
        blocked: How many subjects wait behind one of those, or behind a dead letter.
        dead: How many deliveries were given up.
        state: ``active``; ``failing``, while nearly everything does and nothing new is tried;
            ``paused`` by somebody; ``missing``, where its plugin is gone.
        last_error: Why it last failed, as far as that is on record still.
        state_reason: Why it is in that state, where somebody said so.
        lanes: How many it has.
    """

    name: str
    checkpoint: int
    head: int
    lag: int
    lag_seconds: float
    retrying: int
    blocked: int
    dead: int
    state: str
    last_error: str | None
    state_reason: str | None
    lanes: int

    def as_dict(self) -> dict[str, object]:
        """The subscription as lists in JSON show it."""
        fields = self.as_details()
        del fields["state_reason"], fields["lanes"]
        return fields

    def as_details(self) -> dict[str, object]:
        """The same, and what is shown of one alone."""
        return msgspec.structs.asdict(self)


class Owned(msgspec.Struct, frozen=True):
    """What a worker owns of one subscription.

    Attributes:
        replay: The id of the replay; None for live delivery.
        lanes: How many lanes.
    """

    subscription: str
    replay: int | None
    lanes: int

    def __str__(self) -> str:
        run = "" if self.replay is None else f" replay {self.replay}"
        return f"{self.subscription}{run}: {self.lanes}"


class WorkerStatus(msgspec.Struct, frozen=True):
    """One process that delivers, or did until it fell silent.

    Attributes:
        host: The name of its machine.
        seen_at: When it last renewed its leases.
        owned: What it owns, by subscription and run.
        is_alive: Whether it was seen within the time of a lease.
    """

    id: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    owned: Sequence[Owned]
    is_alive: bool

    @property
    def lanes(self) -> int:
        """How many lanes it owns."""
        return sum(one.lanes for one in self.owned)

    def as_dict(self) -> dict[str, object]:
        """The worker as every JSON output shows it."""
        return {
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "started_at": as_rfc3339(self.started_at),
            "seen_at": as_rfc3339(self.seen_at),
            "lanes": self.lanes,
            "alive": self.is_alive,
            "owned": [msgspec.structs.asdict(one) for one in self.owned],
        }


class Status:
    """Reads how things stand, each answer from one state of the database."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables = store.tables

    def subscriptions(
        self, *, limit: int | None = None, after: str = ""
    ) -> list[SubscriptionStatus]:
        """Return the subscriptions whose names come after ``after``, in order of name."""
        table = self._tables.subscription
        query = select(table.c.name).where(table.c.name > after).order_by(table.c.name)
        with self._store.reading() as connection:
            names = connection.scalars(query.limit(limit)).all()
            return [self._describe(connection, name) for name in names]

    def subscription(self, name: str) -> SubscriptionStatus:
        """Return the subscription of that name.

        Raises:
            UnknownName: There is none.
        """
        with self._store.reading() as connection:
            find_subscription(connection, self._tables, name)
            return self._describe(connection, name)

    def workers(self, *, limit: int | None = None, after: str = "") -> list[WorkerStatus]:
        """Return the workers whose ids come after ``after``, in order of id."""
        worker = self._tables.worker
        query = select(worker).where(worker.c.id > after).order_by(worker.c.id).limit(limit)
        with self._store.reading() as connection:
            rows = connection.execute(query).all()
            owned = self._find_owned(connection, [row.id for row in rows])
        oldest = self._store.now() - LEASE_MICROS
        return [
            WorkerStatus(
                id=row.id,
                host=row.host,
                pid=row.pid,
                started_at=from_micros(row.started_at),
                seen_at=from_micros(row.seen_at),
                owned=owned[row.id],
                is_alive=row.seen_at >= oldest,
            )
            for row in rows
        ]

    def _find_owned(
        self, connection: Connection, workers: Sequence[str]
    ) -> Mapping[str, Sequence[Owned]]:
        lane = self._tables.lane.c
        parts = (lane.owner, lane.subscription, lane.run)
        query = select(*parts, func.count()).where(lane.owner.in_(workers))
        found: defaultdict[str, list[Owned]] = defaultdict(list)
        for owner, name, run, count in connection.execute(query.group_by(*parts).order_by(*parts)):
            found[owner].append(Owned(name, None if run == LIVE else run, count))
        return found

    def _describe(self, connection: Connection, name: str) -> SubscriptionStatus:
        table, head = self._tables.subscription, self._tables.head
        row = connection.execute(select(table).where(table.c.name == name)).one()
        newest = connection.scalars(select(head.c.position)).one()
        checkpoint, lanes = connection.execute(self._lanes(name)).one()
        if checkpoint is None:
            checkpoint = row.start_position
        counts = connection.execute(self._count_parked(name))
        parked = {row[0]: row[1] for row in counts}
        return SubscriptionStatus(
            name=name,
            checkpoint=checkpoint,
            head=newest,
            lag=newest - checkpoint,
            lag_seconds=self._age(connection, after=checkpoint, until=newest),
            retrying=parked.get(RETRY, 0),
            blocked=connection.scalars(self._count_blocked(name)).one(),
            dead=parked.get(DEAD, 0),
            state=row.state,
            last_error=row.last_error or connection.scalars(self._newest_error(name)).first(),
            state_reason=row.state_reason,
            lanes=lanes,
        )

    def _age(self, connection: Connection, *, after: int, until: int) -> float:
        """How many seconds ago the first live event behind ``after`` came in; 0 without one."""
        event, notification = self._tables.event, self._tables.notification
        query = (
            select(notification.c.received_at)
            .join(event, event.c.notification_id == notification.c.id)
            .where(event.c.position > after, event.c.position <= until, event.c.quiet.is_(False))
            .order_by(event.c.position)
            .limit(1)
        )
        received_at = connection.scalars(query).first()
        if received_at is None:
            return 0.0
        waited: int = self._store.now() - received_at
        return max(0.0, waited / 1_000_000)

    def _lanes(self, name: str) -> Select[int | None, int]:
        """The lowest checkpoint of its lanes, and how many there are."""
        lane = self._tables.lane
        return select(func.min(lane.c.checkpoint), func.count()).where(
            lane.c.subscription == name, lane.c.run == LIVE
        )

    def _count_parked(self, name: str) -> Select[str, int]:
        parked = self._tables.parked
        return (
            select(parked.c.state, func.count())
            .where(parked.c.subscription == name, parked.c.run == LIVE)
            .group_by(parked.c.state)
        )

    def _count_blocked(self, name: str) -> Select[int]:
        blocked = self._tables.blocked
        return select(func.count()).where(blocked.c.subscription == name, blocked.c.run == LIVE)

    def _newest_error(self, name: str) -> Select[str]:
        parked = self._tables.parked
        return (
            select(parked.c.error)
            .where(parked.c.subscription == name, parked.c.run == LIVE)
            .order_by(parked.c.parked_at.desc())
            .limit(1)
        )


def find_subscription(connection: Connection, tables: Tables, name: str) -> Row[*tuple[Any, ...]]:
    """Return the row of the subscription of that name.

    Raises:
        UnknownName: There is none.
    """
    table = tables.subscription
    row = connection.execute(select(table).where(table.c.name == name)).first()
    if row is None:
        known = connection.scalars(select(table.c.name)).all()
        raise UnknownName(f"the subscription {name!r} {explain_unknown(name, known)}")
    return row
