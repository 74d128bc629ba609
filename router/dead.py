"""Dead letters: deliveries that were given up; they are read, sent again, or struck off."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import Connection, Row, func, select, tuple_
from sqlalchemy.sql.elements import ColumnElement

from router import audit
from router.claims import LIVE
from router.errors import UnknownName
from router.events import as_micros, from_micros
from router.filters import DeadFilter
from router.intents import DISCARD, REDRIVE, Action, Intents
from router.letters import Attempt, Counts, DeadLetter, Group, make_attempt, make_letter
from router.parking import DEAD
from router.status import find_subscription
from router.store import Store

ALL = DeadFilter()


class DeadLetters:
    """Reads what was given up, and carries out what becomes of it.

    Wherever a filter names a subscription that does not exist, `UnknownName` is raised.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables = store.tables
        self._intents = Intents(store)

    def list(
        self, matching: DeadFilter = ALL, *, limit: int, after: tuple[str, int] = ("", 0)
    ) -> list[DeadLetter]:
        """Return dead letters in order of subscription and position.

        Args:
            matching: Which.
            limit: How many, at most.
            after: The subscription and position to start behind.
        """
        parked = self._tables.parked
        place = tuple_(parked.c.subscription, parked.c.position)
        query = select(parked).where(*self._find(matching), place > after)
        query = query.order_by(parked.c.subscription, parked.c.position).limit(limit)
        with self._store.reading() as connection:
            self._require_known(connection, matching.subscriptions)
            return [make_letter(row) for row in connection.execute(query)]

    def groups(self, matching: DeadFilter = ALL, *, limit: int, offset: int = 0) -> Sequence[Group]:
        """Return them by subscription and error, those that are most first.

        Args:
            matching: Which dead letters.
            limit: How many groups, at most.
            offset: How many of the first ones are left out.
        """
        parked = self._tables.parked.c
        count, example = func.count(), func.min(parked.position)
        times = func.min(parked.parked_at), func.max(parked.parked_at)
        query = (
            select(parked.subscription, parked.error, count, *times, example)
            .where(*self._find(matching))
            .group_by(parked.subscription, parked.error)
            .order_by(count.desc(), parked.subscription, parked.error)
        )
        with self._store.reading() as connection:
            self._require_known(connection, matching.subscriptions)
            rows = connection.execute(query.limit(limit).offset(offset)).all()
        return [
            Group(name, error, number, from_micros(first), from_micros(last), position)
            for name, error, number, first, last, position in rows
        ]

    def count(self, matching: DeadFilter = ALL) -> Counts:
        """Count those that `redrive` or `discard` would take now."""
        with self._store.reading() as connection:
            self._require_known(connection, matching.subscriptions)
            return Counts(_sum_types(self._count(connection, matching)))

    def redrive(self, matching: DeadFilter = ALL, *, actor: str) -> Counts:
        """Send them again, at once and with the limits of their retries counted anew.

        Their subjects do not wait for them, unless they have waited since. Checkpoints stay.

        Args:
            matching: Which; fixed when this returns, so one that dies later is not sent again.
            actor: Who wants it, for the record.

        Raises:
            RouterError: They are of a replay that was ended before its time.
        """
        return self._change(REDRIVE, matching, actor=actor)

    def discard(self, matching: DeadFilter = ALL, *, actor: str) -> Counts:
        """Strike them off with their attempts: they count as settled, and nobody gets them.

        Args:
            matching: Which; fixed when this returns.
            actor: Who wants it, for the record.
        """
        return self._change(DISCARD, matching, actor=actor)

    def catch_up(self, *, run: int = LIVE) -> None:
        """Carry out what was asked of owners that are gone by now; so does any later change."""
        intent = self._tables.intent.c
        with self._store.reading() as connection:
            query = select(intent.subscription).where(intent.run == run).distinct()
            names = connection.scalars(query).all()
        if names:
            with self._store.writing() as connection:
                for name in names:
                    self._intents.sweep(connection, name, run)

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
        return make_letter(row)

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
        return [make_attempt(row) for row in rows]

    def _change(self, action: Action, matching: DeadFilter, *, actor: str) -> Counts:
        with self._store.writing() as connection:
            self._require_known(connection, matching.subscriptions)
            found = self._count(connection, matching)
            by_type = _sum_types(found)
            names = sorted({row.subscription for row in found})
            if not names:
                return Counts({})
            asked = [
                self._intents.ask(
                    connection,
                    subscription=name,
                    run=matching.run,
                    action=action,
                    actor=actor,
                    matching=self._find(matching),
                )
                for name in names
            ]
            counts = Counts(by_type, all(intent.is_carried_out for intent in asked))
            audit.record(
                connection,
                self._store,
                actor=actor,
                action=f"dead {action}",
                target=", ".join(names),
                detail={"filter": msgspec.to_builtins(matching), **counts.as_dict()},
            )
        return counts

    def _count(
        self, connection: Connection, matching: DeadFilter
    ) -> Sequence[Row[*tuple[Any, ...]]]:
        parked = self._tables.parked.c
        return connection.execute(
            select(parked.subscription, parked.type, func.count().label("number"))
            .where(*self._find(matching), parked.intent.is_(None))
            .group_by(parked.subscription, parked.type)
        ).all()

    def _find(self, matching: DeadFilter) -> Sequence[ColumnElement[bool]]:
        """Return the conditions on the table parked that ``matching`` stands for."""
        parked = self._tables.parked.c
        found = [parked.run == matching.run, parked.state == DEAD]
        for column, wanted in (
            (parked.subscription, matching.subscriptions),
            (parked.type, matching.types),
            (parked.subject, matching.subjects),
            (parked.position, matching.positions),
        ):
            if wanted:
                found.append(column.in_(wanted))
        if matching.error:
            found.append(parked.error.icontains(matching.error, autoescape=True))
        if matching.since is not None:
            found.append(parked.parked_at >= as_micros(matching.since))
        if matching.until is not None:
            found.append(parked.parked_at < as_micros(matching.until))
        return found

    def _require_known(self, connection: Connection, names: Iterable[str]) -> None:
        for name in names:
            find_subscription(connection, self._tables, name)


def _sum_types(rows: Iterable[Row[*tuple[Any, ...]]]) -> Mapping[str, int]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[row.type] += row.number
    return dict(sorted(counts.items()))
