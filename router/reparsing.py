"""Reparsing: stored notifications are split again, and what the log did not know is appended."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime

from sqlalchemy import Connection, select

from router import audit
from router.bulk import Parts, Values, insert_together
from router.candidates import Candidate, Candidates
from router.errors import UnknownName, trace
from router.events import Notification, as_rfc3339, make_ids
from router.head import select_head, write_move
from router.log import EventLog
from router.options import explain_unknown
from router.reparse_plan import Found, Plan
from router.rows import find
from router.sources import Source
from router.stored import read_stored

KEYS = 10_000  # events that are compared at a time
BATCH = 250  # events a transaction: a few milliseconds
SHORTEST_PAUSE = 0.01  # seconds between two transactions, so that others get their turn

Tell = Callable[[str, int], None]


def tell_nobody(what: str, count: int) -> None:
    """Keep progress to oneself."""


class Reparsing:
    """Splits stored notifications again, after their adapter was corrected.

    An event is known by its key: if an event of the log has it, or the dedupe memory remembers it.
    One that is known stays as it is; one that is not is appended at the end of the log, and points
    to the notification that is stored already.

    Its calls wait for the database, and for the adapter.

    Args:
        log: The log.
        sources: The origins by name, whose adapters are as they should be by now.
        sleep: Waits for some seconds.
        clock: Seconds, to measure how long a transaction took.

    Example::

        with router.reparsing.planned("wa") as plan:
            router.reparsing.append(plan, by="ana")
    """

    def __init__(
        self,
        log: EventLog,
        sources: Mapping[str, Source],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = log.store
        self._dedupe = log.dedupe
        self._tables = log.store.tables
        self._sources = sources
        self._sleep = sleep
        self._clock = clock
        self._select_head = select_head(log.store.tables)
        self._move_head = write_move(log.store.tables, log.store.engine.dialect)

    @contextmanager
    def planned(
        self,
        source: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        tell: Tell = tell_nobody,
    ) -> Iterator[Plan]:
        """Split what is stored and compare it with the log; yield what is missing. Changes nothing.

        The comparison reads the key of every event of the log once, about 1 s a million; without
        anything that might be missing there is none.

        Args:
            source: Whose notifications.
            since: Received at this time or later.
            until: Received before this time.
            tell: Told after each page what was done, and how much of it by then.

        Raises:
            UnknownName: There is no such source.
        """
        if source not in self._sources:
            raise UnknownName(f"the source {source!r} {explain_unknown(source, self._sources)}")
        with closing(Candidates()) as candidates:
            split, failed, failure = 0, 0, ""
            for page in read_stored(self._store, source, since=since, until=until):
                for one in page.notifications:
                    why = self._collect(one, page.keys, candidates)
                    failed, failure = failed + bool(why), failure or why
                split += len(page.notifications)
                tell("notifications split", split)
            seen = self._drop_logged(candidates, after=0, tell=tell)
            self._drop_remembered(candidates)
            yield Plan(
                source=source,
                since=since,
                until=until,
                by_type=candidates.count_by_type(),
                failed=failed,
                failure=failure,
                candidates=candidates,
                seen=seen,
            )

    def append(
        self, plan: Plan, *, by: str, deliver: bool = False, tell: Tell = tell_nobody
    ) -> Found:
        """Append what was planned, and return what that came to.

        It is less where somebody else has appended some of it meanwhile. Cut short, it leaves the
        log sound; planned again, what is left is appended.

        Args:
            plan: What is missing.
            by: Who wants it, for the record.
            deliver: Whether live subscriptions get the events, too; else only replays do.
            tell: Told after each transaction what was done, and how much of it by then.
        """
        if not plan.total:
            return Found({})
        self._drop_logged(plan.candidates, after=plan.seen)
        self._write_down(plan, by=by, deliver=deliver)
        counts: Counter[str] = Counter()
        first = last = None
        for batch in plan.candidates.read(BATCH):
            began = self._clock()
            with self._store.writing() as connection:
                head = connection.execute(self._select_head).one()
                fresh = self._find_fresh(connection, batch)
                if fresh:
                    first = first or head.position + 1
                    last = head.position + len(fresh)
                    rows = _make_rows(fresh, after=head.position, is_quiet=not deliver)
                    keys = [(one.key, at) for at, one in enumerate(fresh, head.position + 1)]
                    tables = self._tables
                    parts: Parts = [(tables.event, rows), (tables.dedupe[head.generation], keys)]
                    moved = (self._move_head, (last, self._store.now()))
                    insert_together(connection, parts, then=moved)
            counts.update(one.type for one in fresh)
            tell("events appended", counts.total())
            self._sleep(max(SHORTEST_PAUSE, self._clock() - began))
        return Found(dict(sorted(counts.items())), first, last)

    def _collect(
        self, notification: Notification, known: set[bytes], candidates: Candidates
    ) -> str:
        """Add what may be missing of ``notification``; return where the adapter failed, if so."""
        try:
            drafts = self._sources[notification.source].split(notification.body)
            found = find(notification, drafts)
        except Exception as error:  # whatever an adapter raises, the others are split
            return f"notification {notification.id}: {trace(error)}"
        candidates.add(
            [
                Candidate(one.key, notification.id, one.draft.type, one.row[:-2])
                for one in found
                if one.key not in known
            ]
        )
        return ""

    def _drop_logged(self, candidates: Candidates, *, after: int, tell: Tell = tell_nobody) -> int:
        """Drop what is in the log behind ``after``; return how far it was compared."""
        event = self._tables.event.c
        query = select(event.position, event.key).order_by(event.position).limit(KEYS)
        while len(candidates):
            with self._store.reading() as connection:
                rows = connection.execute(query.where(event.position > after)).all()
            candidates.drop(row.key for row in rows)
            after = rows[-1].position if rows else after
            if len(rows) < KEYS:
                break
            tell("events compared", after)
        return after

    def _drop_remembered(self, candidates: Candidates) -> None:
        """Drop what the dedupe memory knows, though the log does not: what was pruned."""
        for batch in candidates.read(KEYS):
            with self._store.reading() as connection:
                known = self._dedupe.find_known(connection, [one.key for one in batch])
            candidates.drop(known)

    def _find_fresh(self, connection: Connection, batch: Sequence[Candidate]) -> list[Candidate]:
        """Return what nobody has appended meanwhile, of notifications that nobody has pruned."""
        event = self._tables.event.c
        known = self._dedupe.find_known(connection, [one.key for one in batch])
        pointers = {one.notification_id for one in batch}
        held = set(connection.scalars(select(event.position).where(event.position.in_(pointers))))
        return [one for one in batch if one.key not in known and one.notification_id in held]

    def _write_down(self, plan: Plan, *, by: str, deliver: bool) -> None:
        detail = {
            "since": as_rfc3339(plan.since),
            "until": as_rfc3339(plan.until),
            "deliver": deliver,
            "total": plan.total,
            "by_type": dict(plan.by_type),
        }
        with self._store.writing() as connection:
            audit.record(
                connection,
                self._store,
                actor=by,
                action="events reparse",
                target=plan.source,
                detail=detail,
            )


def _make_rows(fresh: Sequence[Candidate], *, after: int, is_quiet: bool) -> list[Values]:
    ids = make_ids(after + 1, len(fresh))
    return [
        (after + at, id_, one.key, one.notification_id, *one.content, True, is_quiet)
        for at, (id_, one) in enumerate(zip(ids, fresh, strict=True), 1)
    ]
