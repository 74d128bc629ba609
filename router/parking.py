"""Failed deliveries on record: parked ones, the subjects they block, and every failed attempt."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, select, update
from sqlalchemy.sql.elements import ColumnElement

from router.events import Event
from router.lane import Lane
from router.schema import Tables

RETRY = "retry"
DEAD = "dead"
RUNNING = "running"  # the outcome of an attempt whose end is not on record
ALONE = "alone"  # likewise, of one beside which nothing else ran


class Failure(msgspec.Struct, frozen=True):
    """What one attempt left behind.

    Attributes:
        started_at: Microseconds since 1970.
        duration: Seconds.
        outcome: ``failed``, ``timed out``, ``rejected`` or ``retry`` (asked for).
    """

    started_at: int
    duration: float
    outcome: str
    error: str
    traceback: str | None = None


class Parked(msgspec.Struct, frozen=True):
    """A delivery that waits for its next attempt.

    Attributes:
        attempts: Calls so far.
        parked_at: When the first one failed, in microseconds since 1970.
        next_at: When the next one is due, in microseconds since 1970; None for a dead letter.
        uptime: The lane's when the first one failed, or when it was last redriven.
        spent: The calls before it was last redriven: limits count from there.
        was_alone: Whether its process ended in its last call, while nothing else ran.
    """

    position: int
    subject: str
    attempts: int
    parked_at: int
    next_at: int | None
    uptime: int = 0
    spent: int = 0
    was_alone: bool = False


class Held(msgspec.Struct, frozen=True):
    """What a lane's new owner needs to know of its past.

    Attributes:
        retries: The parked deliveries that wait for an attempt.
        blocked: Each blocked subject, and the position above which all of it is still to do.
        dead: Those of the blocked subjects that wait behind a dead letter of theirs.
    """

    retries: list[Parked]
    blocked: dict[str, int]
    dead: set[str]


class Parking:
    """The statements on parked, blocked and attempt; each within a transaction of the owner."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def load(self, connection: Connection, lane: Lane) -> Held:
        """Return what is parked and blocked in ``lane``."""
        parked, blocked, attempt = self._tables.parked, self._tables.blocked, self._tables.attempt
        rows = connection.execute(
            select(parked, attempt.c.outcome)
            .join(attempt, and_(*_last_attempt(parked.c, attempt.c)), isouter=True)
            .where(*in_lane(parked.c, lane), parked.c.state == RETRY)
        ).all()
        heads = connection.execute(select(blocked).where(*in_lane(blocked.c, lane))).all()
        dead = connection.scalars(
            select(parked.c.subject)
            .join(blocked, and_(*(blocked.c[it] == parked.c[it] for it in ("position", "subject"))))
            .where(*in_lane(parked.c, lane), *in_lane(blocked.c, lane), parked.c.state == DEAD)
        )
        return Held(
            retries=[read_parked(row, outcome=row.outcome) for row in rows],
            blocked={row.subject: row.position for row in heads},
            dead=set(dead),
        )

    def park(
        self,
        connection: Connection,
        lane: Lane,
        event: Event,
        *,
        failure: Failure,
        next_at: int | None,
    ) -> None:
        """Write down the first failure of ``event``; without ``next_at`` it is dead at once."""
        state, now = DEAD if next_at is None else RETRY, failure.started_at
        values = {"state": state, "attempts": 1, "next_at": next_at, "error": failure.error}
        self._insert(connection, lane, event, now=now, values=values)
        self._record(connection, lane, event.position, number=1, failure=failure)

    def set_aside(self, connection: Connection, lane: Lane, event: Event, *, now: int) -> None:
        """Park ``event`` before its first attempt, which may end the process."""
        error = "its first attempt has not ended"
        values = {"state": RETRY, "attempts": 0, "next_at": now, "error": error}
        self._insert(connection, lane, event, now=now, values=values)

    def begin_retry(
        self,
        connection: Connection,
        lane: Lane,
        parked: Parked,
        *,
        started_at: int,
        is_alone: bool = False,
    ) -> None:
        """Count the next attempt before it is made: a call that kills the process counts too.

        Args:
            connection: Of the owner's transaction.
            lane: The owner's.
            parked: The delivery as it stands.
            started_at: Microseconds since 1970.
            is_alone: Whether nothing else runs in the lane, so that it alone is to blame if the
                process does not survive.
        """
        table, attempt = self._tables.parked, self._tables.attempt
        number = parked.attempts + 1
        key = _key(table.c, lane, parked.position)
        connection.execute(update(table).where(*key).values(attempts=number))
        connection.execute(
            insert(attempt).values(
                subscription=lane.subscription,
                run=lane.run,
                position=parked.position,
                number=number,
                started_at=started_at,
                outcome=ALONE if is_alone else RUNNING,
            )
        )

    def park_again(
        self,
        connection: Connection,
        lane: Lane,
        position: int,
        *,
        number: int,
        failure: Failure,
        next_at: int | None,
    ) -> None:
        """Write down that attempt ``number`` failed too; without ``next_at`` it was the last."""
        table = self._tables.parked
        state = DEAD if next_at is None else RETRY
        connection.execute(
            update(table)
            .where(*_key(table.c, lane, position))
            .values(state=state, next_at=next_at, error=failure.error)
        )
        self._record(connection, lane, position, number=number, failure=failure)

    def give_up(self, connection: Connection, lane: Lane, position: int, *, error: str) -> None:
        """Make a delivery dead whose last attempt nobody saw the end of."""
        table = self._tables.parked
        connection.execute(
            update(table)
            .where(*_key(table.c, lane, position))
            .values(state=DEAD, next_at=None, error=error)
        )

    def clear(self, connection: Connection, lane: Lane, position: int) -> None:
        """Strike off a delivery that succeeded, with its attempts."""
        for table in (self._tables.parked, self._tables.attempt):
            connection.execute(delete(table).where(*_key(table.c, lane, position)))

    def block(self, connection: Connection, lane: Lane, event: Event) -> None:
        """Make all of the event's subject above it wait."""
        connection.execute(
            insert(self._tables.blocked).values(
                subscription=lane.subscription,
                run=lane.run,
                subject=event.subject,
                shard=event.shard,
                position=event.position,
            )
        )

    def advance(self, connection: Connection, lane: Lane, subject: str, position: int) -> None:
        """Note that the blocked ``subject`` is settled up to ``position``."""
        table = self._tables.blocked
        connection.execute(
            update(table)
            .where(*_run_of(table.c, lane), table.c.subject == subject)
            .values(position=position)
        )

    def release(self, connection: Connection, lane: Lane, subjects: Sequence[str]) -> None:
        """Let the ``subjects`` go on; nothing of them waits any more."""
        table = self._tables.blocked
        one = delete(table).where(*_run_of(table.c, lane), table.c.subject == bindparam("released"))
        if subjects:
            connection.execute(one, [{"released": subject} for subject in subjects])

    def _insert(
        self,
        connection: Connection,
        lane: Lane,
        event: Event,
        *,
        now: int,
        values: Mapping[str, object],
    ) -> None:
        connection.execute(
            insert(self._tables.parked).values(
                subscription=lane.subscription,
                run=lane.run,
                position=event.position,
                subject=event.subject,
                shard=event.shard,
                type=event.type,
                parked_at=now,
                uptime=lane.uptime_at(now),
                **values,
            )
        )

    def _record(
        self, connection: Connection, lane: Lane, position: int, *, number: int, failure: Failure
    ) -> None:
        table = self._tables.attempt
        values = msgspec.structs.asdict(failure)
        key = [*_key(table.c, lane, position), table.c.number == number]
        if connection.execute(update(table).where(*key).values(**values)).rowcount == 0:
            connection.execute(
                insert(table).values(
                    subscription=lane.subscription,
                    run=lane.run,
                    position=position,
                    number=number,
                    **values,
                )
            )


def _run_of(columns: Any, lane: Lane) -> list[ColumnElement[bool]]:  # noqa: ANN401
    return [columns.subscription == lane.subscription, columns.run == lane.run]


def _key(columns: Any, lane: Lane, position: int) -> list[ColumnElement[bool]]:  # noqa: ANN401
    return [*_run_of(columns, lane), columns.position == position]


def in_lane(columns: Any, lane: Lane) -> list[ColumnElement[bool]]:  # noqa: ANN401
    """Return what holds for the rows of parked and of blocked that belong to ``lane``."""
    return [*_run_of(columns, lane), columns.shard.between(*lane.range)]


def _last_attempt(parked: Any, attempt: Any) -> list[ColumnElement[bool]]:  # noqa: ANN401
    return [
        attempt.subscription == parked.subscription,
        attempt.run == parked.run,
        attempt.position == parked.position,
        attempt.number == parked.attempts,
    ]


def read_parked(row: Row[*tuple[Any, ...]], *, outcome: str | None = None) -> Parked:
    """Return the delivery of a row of the table parked.

    Args:
        row: The row.
        outcome: Of its last attempt; None where that does not matter.
    """
    return Parked(
        position=row.position,
        subject=row.subject,
        attempts=row.attempts,
        parked_at=row.parked_at,
        next_at=row.next_at,
        uptime=row.uptime,
        spent=row.spent,
        was_alone=outcome == ALONE and row.attempts > row.spent,
    )
