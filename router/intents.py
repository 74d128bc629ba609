"""What operators ask for, on record until the owner of each lane has carried it out.

The owner alone may change what its lane goes by. A lane that nobody owns is seen to by whoever
asks, within the same transaction.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, cast

import msgspec
from sqlalchemy import Connection, delete, exists, insert, or_, select, update
from sqlalchemy.sql.elements import ColumnElement

from router import replay_lanes, unowned
from router.claims import LIVE
from router.lane import Lane
from router.parking import DEAD, RETRY, Parked, in_lane, read_parked
from router.replay_counts import Count, add_counts
from router.store import Store

Action = Literal["redrive", "discard", "skip"]
REDRIVE: Final = "redrive"
DISCARD: Final = "discard"
SKIP: Final = "skip"


class Intent(msgspec.Struct, frozen=True):
    """What somebody wants done in the lanes of one run of a subscription.

    Attributes:
        run: 0 for live delivery, else the replay's id.
        action: ``redrive`` or ``discard`` the dead letters that are marked with its id, or
            ``skip`` all events up to ``position``.
        position: The last one that is skipped; None where nothing is.
        asked_at: In microseconds since 1970.
        is_carried_out: Whether nothing of it is left to do; then it is on record no more.
    """

    id: int
    subscription: str
    run: int
    action: Action
    position: int | None
    actor: str
    asked_at: int
    is_carried_out: bool = False


class Intents:
    """The statements on the table intent, and what carrying one out does to the record."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables = store.tables

    def find(self, subscriptions: Sequence[str]) -> list[Intent]:
        """Return what is asked of these subscriptions, in the order in which it was asked."""
        table = self._tables.intent
        with self._store.reading() as connection:
            return self._read(connection, table.c.subscription.in_(subscriptions))

    def ask(
        self,
        connection: Connection,
        *,
        subscription: str,
        run: int,
        action: Action,
        actor: str,
        position: int | None = None,
        matching: Iterable[ColumnElement[bool]] = (),
    ) -> Intent:
        """Write down what somebody wants, and carry it out in the lanes that nobody owns.

        Args:
            connection: Of a transaction that writes.
            subscription: Its name.
            run: Of live delivery (0), or of the replay with this id.
            action: What is to be done.
            actor: Who wants it.
            position: The last one that is skipped.
            matching: Conditions on the table parked: of its dead letters, those that are redriven
                or discarded. None means all. Those that an earlier intent holds are left to it.

        Raises:
            RouterError: A replay whose dead letters are redriven was ended before its time.
        """
        table, parked = self._tables.intent, self._tables.parked
        if run != LIVE:
            replay_lanes.lock(connection, self._tables, run)
        values = {
            "subscription": subscription,
            "run": run,
            "action": action,
            "position": position,
            "actor": actor,
            "asked_at": self._store.now(),
        }
        key = connection.execute(insert(table).values(values)).inserted_primary_key
        number = cast("Sequence[int]", key)[0]
        if action != SKIP:
            dead = [*_in_run(parked.c, subscription, run), parked.c.state == DEAD]
            chosen = update(parked).where(*dead, parked.c.intent.is_(None), *matching)
            connection.execute(chosen.values(intent=number))
        [intent] = self._read(connection, table.c.id == number)
        self.sweep(connection, subscription, run)
        is_left = self._read(connection, table.c.id == number)
        return msgspec.structs.replace(intent, is_carried_out=not is_left)

    def sweep(self, connection: Connection, subscription: str, run: int) -> None:
        """Carry out what is asked of a run, in those of its lanes that nobody owns.

        Their former owners are fenced out. What is redriven in a replay that has ended gets its
        lanes back.

        Raises:
            RouterError: That replay was ended before its time.
        """
        if run != LIVE:
            replay_lanes.lock(connection, self._tables, run)
        asked = self._read(connection, *_in_run(self._tables.intent.c, subscription, run))
        if not asked:
            return
        if run != LIVE and any(intent.action == REDRIVE for intent in asked):
            replay_lanes.reopen(connection, self._store, run)
        for lane in unowned.take(connection, self._store, subscription, run):
            for intent in asked:
                if intent.position is not None:
                    unowned.pass_over(connection, self._tables, lane, position=intent.position)
                self.carry_out(connection, lane, intent)

    def carry_out_all(self, connection: Connection, lane: Lane) -> bool:
        """Do on record all that is asked of the run of a replay's ``lane``; whether anything is.

        Its owner does so before it strikes the lane off, for nobody will ask it any more.
        """
        replay_lanes.lock(connection, self._tables, lane.run)
        asked = self._read(connection, *_in_run(self._tables.intent.c, lane.subscription, lane.run))
        for intent in asked:
            self.carry_out(connection, lane, intent)
        return bool(asked)

    def carry_out(self, connection: Connection, lane: Lane, intent: Intent) -> list[Parked]:
        """Do on record what ``intent`` asks of ``lane``, and return the deliveries it is about.

        Called by the owner within its transaction. The checkpoint is the owner's to write, before.
        It may be called again: what is done already is not done twice.

        Returns:
            Of a redrive the deliveries as they stand then: due now, with their limits counted
            anew. Of the other actions those that are no more, as they were.
        """
        table = self._tables.intent
        # Locked: of two last lanes each would take the other's part for still to do.
        if lane.run != LIVE:
            replay_lanes.lock(connection, self._tables, lane.run)
        if intent not in self._read(connection, table.c.id == intent.id, locking=True):
            return []  # it is carried out, and its id may be that of another one by now
        if intent.action == REDRIVE:
            touched = self._redrive(connection, lane, intent)
        elif intent.action == DISCARD:
            parked = self._tables.parked.c
            touched = self._remove(connection, lane, parked.intent == intent.id)
        else:
            touched = self._skip(connection, lane, cast("int", intent.position))
        if not self._is_left(connection, intent):
            connection.execute(delete(table).where(table.c.id == intent.id))
        return touched

    def _redrive(self, connection: Connection, lane: Lane, intent: Intent) -> list[Parked]:
        parked, lanes = self._tables.parked, self._tables.lane
        mine = [*in_lane(parked.c, lane), parked.c.intent == intent.id, parked.c.state == DEAD]
        first = [*_in_run(lanes.c, lane.subscription, lane.run)]
        first.append(lanes.c.first_shard == lane.first_shard)
        now = self._store.now()
        uptime = connection.scalars(select(lanes.c.uptime).where(*first)).first() or 0
        rows = connection.execute(select(parked).where(*mine).order_by(parked.c.position)).all()
        fresh = {"next_at": now, "uptime": uptime, "spent": parked.c.attempts}
        connection.execute(update(parked).where(*mine).values(state=RETRY, intent=None, **fresh))
        if lane.run != LIVE:  # they count as failed no more
            fewer: Counter[Count] = Counter()
            fewer.subtract((row.type, "failed") for row in rows)
            add_counts(connection, fewer, tables=self._tables, number=lane.run)
        return [
            msgspec.structs.replace(
                read_parked(row), next_at=now, uptime=uptime, spent=row.attempts
            )
            for row in rows
        ]

    def _skip(self, connection: Connection, lane: Lane, position: int) -> list[Parked]:
        parked, blocked = self._tables.parked.c, self._tables.blocked
        behind = update(blocked).where(*in_lane(blocked.c, lane), blocked.c.position < position)
        connection.execute(behind.values(position=position))
        return self._remove(connection, lane, parked.state == RETRY, parked.position <= position)

    def _remove(
        self, connection: Connection, lane: Lane, *which: ColumnElement[bool]
    ) -> list[Parked]:
        """Delete what is parked in ``lane``, with its attempts, and return it."""
        parked, attempt = self._tables.parked, self._tables.attempt
        mine = [*in_lane(parked.c, lane), *which]
        rows = connection.execute(select(parked).where(*mine).order_by(parked.c.position)).all()
        connection.execute(
            delete(attempt).where(
                *_in_run(attempt.c, lane.subscription, lane.run),
                attempt.c.position.in_(select(parked.c.position).where(*mine)),
            )
        )
        connection.execute(delete(parked).where(*mine))
        return [read_parked(row) for row in rows]

    def _is_left(self, connection: Connection, intent: Intent) -> bool:
        """Whether any lane has still something to do for ``intent``."""
        tables = self._tables
        lane, parked, blocked = (
            exists().where(*_in_run(table.c, intent.subscription, intent.run))
            for table in (tables.lane, tables.parked, tables.blocked)
        )
        if intent.position is None:
            query = select(parked.where(tables.parked.c.intent == intent.id))
        else:
            waits = [tables.parked.c.state == RETRY, tables.parked.c.position <= intent.position]
            query = select(
                or_(
                    lane.where(tables.lane.c.checkpoint < intent.position),
                    blocked.where(tables.blocked.c.position < intent.position),
                    parked.where(*waits),
                )
            )
        return bool(connection.scalars(query).one())

    def _read(
        self, connection: Connection, *which: ColumnElement[bool], locking: bool = False
    ) -> list[Intent]:
        table = self._tables.intent
        query = select(table).where(*which).order_by(table.c.id)
        rows = connection.execute(query.with_for_update() if locking else query)
        return [Intent(**row) for row in rows.mappings()]


def _in_run(columns: Any, subscription: str, run: int) -> list[ColumnElement[bool]]:  # noqa: ANN401
    return [columns.subscription == subscription, columns.run == run]
