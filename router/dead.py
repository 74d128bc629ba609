"""Dead letters: deliveries that were given up, with every attempt that was made."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Row, select, tuple_

from router.errors import UnknownName
from router.events import as_rfc3339, from_micros
from router.lanes import LIVE
from router.parking import DEAD
from router.store import Store


class DeadLetter(msgspec.Struct, frozen=True):
    """A delivery that was given up.

    Attributes:
        type: Of the event.
        subject: Of the event.
        attempts: How often a handler was called with it.
        error: What the last call raised.
        parked_at: When the first call failed.
    """

    subscription: str
    position: int
    type: str
    subject: str
    attempts: int
    error: str
    parked_at: datetime

    def as_dict(self) -> dict[str, object]:
        """The dead letter as every JSON output shows it."""
        return msgspec.structs.asdict(self) | {"parked_at": as_rfc3339(self.parked_at)}


class Attempt(msgspec.Struct, frozen=True):
    """One call of a handler that did not succeed.

    Attributes:
        number: 1 for the first.
        duration: Seconds; None for one whose end nobody saw.
        outcome: ``failed``, ``timed out``, ``rejected``, ``retry`` or ``running``.
        traceback: Where in the handler it failed.
    """

    number: int
    started_at: datetime
    duration: float | None
    outcome: str
    error: str | None
    traceback: str | None

    def as_dict(self) -> dict[str, object]:
        """The attempt as every JSON output shows it."""
        return msgspec.structs.asdict(self) | {"started_at": as_rfc3339(self.started_at)}


class DeadLetters:
    """Reads what was given up."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables = store.tables

    def list(
        self,
        *,
        limit: int,
        after: tuple[str, int] = ("", 0),
        subscriptions: Sequence[str] = (),
        types: Sequence[str] = (),
        run: int = LIVE,
    ) -> list[DeadLetter]:
        """Return dead letters in order of subscription and position.

        Args:
            limit: How many, at most.
            after: The subscription and position to start behind.
            subscriptions: Of these; none means of all.
            types: Of events of these types; none means of all.
            run: Of live delivery, or of the replay with this id.
        """
        parked = self._tables.parked
        place = tuple_(parked.c.subscription, parked.c.position)
        query = select(parked).where(parked.c.run == run, parked.c.state == DEAD, place > after)
        if subscriptions:
            query = query.where(parked.c.subscription.in_(subscriptions))
        if types:
            query = query.where(parked.c.type.in_(types))
        query = query.order_by(parked.c.subscription, parked.c.position).limit(limit)
        with self._store.reading() as connection:
            return [_make_dead_letter(row) for row in connection.execute(query)]

    def find(self, subscription: str, position: int, *, run: int = LIVE) -> DeadLetter:
        """Return the dead letter of ``subscription`` at ``position``.

        Raises:
            UnknownName: There is none.
        """
        parked = self._tables.parked
        query = select(parked).where(
            parked.c.subscription == subscription,
            parked.c.run == run,
            parked.c.position == position,
            parked.c.state == DEAD,
        )
        with self._store.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            raise UnknownName(
                f"there is no dead letter of {subscription!r} at position {position}: "
                "`router dead list` shows what there is"
            )
        return _make_dead_letter(row)

    def attempts(self, letter: DeadLetter, *, run: int = LIVE) -> Sequence[Attempt]:
        """Return the attempts at ``letter`` that are on record, the first one first."""
        attempt = self._tables.attempt
        query = select(attempt).where(
            attempt.c.subscription == letter.subscription,
            attempt.c.run == run,
            attempt.c.position == letter.position,
        )
        with self._store.reading() as connection:
            rows = connection.execute(query.order_by(attempt.c.number)).all()
        return [_make_attempt(row) for row in rows]


def _make_dead_letter(row: Row[*tuple[Any, ...]]) -> DeadLetter:
    return DeadLetter(
        subscription=row.subscription,
        position=row.position,
        type=row.type,
        subject=row.subject,
        attempts=row.attempts,
        error=row.error,
        parked_at=from_micros(row.parked_at),
    )


def _make_attempt(row: Row[*tuple[Any, ...]]) -> Attempt:
    return Attempt(
        number=row.number,
        started_at=from_micros(row.started_at),
        duration=row.duration,
        outcome=row.outcome,
        error=row.error,
        traceback=row.traceback,
    )
