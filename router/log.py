"""The log: events are appended once, in order and without gaps, and read back by anybody."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select
from sqlalchemy.sql.elements import ColumnElement

from router.bulk import Parts, insert_together
from router.dedupe import Dedupe
from router.errors import UnknownName
from router.events import EVENT_TYPES, Entry, Event, Replaying, as_micros, position_in
from router.filters import Filter
from router.head import write_move
from router.kind import Kind
from router.lookup import Lookup
from router.meters import Meters
from router.pages import Limits, Page, Pages
from router.periods import find_events
from router.rows import Appended, Prepared, number, prepare
from router.schema import Tables
from router.store import Store
from router.tracing import Tracing

PAGE = 500  # events a page: enough to make a query's fixed cost small, little enough to hold
PAGE_BYTES = 8 * 1024 * 1024
QUERIES = 64  # of pages, by filter, that are kept: to write one takes as long as 20 events
MOST = 10_000  # events a page, well below SQLite's limit of 32,766 variables
EVERYTHING = Filter()


class EventLog:
    """An event log in a database that `router db upgrade` has prepared.

    Args:
        database: A URL, an engine, or an open `Store`; see there.
        dedupe_seconds: How long an event is known again, at least; None is for ever.

    Attributes:
        meters: Count what this process receives, appends and delivers with it.
        tracing: Makes spans of that; None where nobody traces.

    Example: ``for event in EventLog("sqlite:///router.db").read(): print(event.type)``
    """

    def __init__(
        self,
        database: str | Engine | Store,
        *,
        schema: str | None = None,
        table_prefix: str = "",
        dedupe_seconds: float | None = 30 * 86_400,
    ) -> None:
        if not isinstance(database, Store):
            database = Store(database, schema=schema, table_prefix=table_prefix)
        self.store = database
        self.dedupe = Dedupe(database, seconds=dedupe_seconds)
        self.meters = Meters()
        self.tracing: Tracing | None = None
        self._pages = Pages(self.store.tables)
        self._select_page = lru_cache(maxsize=QUERIES)(self._write_page)
        self._select_end = select(self.store.tables.head.c.position)

    def append(
        self, entries: Sequence[Entry], *, connection: Connection | None = None
    ) -> list[Appended]:
        """Append all ``entries`` in one transaction and return what became of each, in order.

        Events that the dedupe memory knows are left out; a notification all of whose events are
        known leaves no row at all. When this returns, the events are on disk.

        Args:
            entries: Notifications with their events.
            connection: Of a transaction on the same database that is to hold them; they are on disk
                when whoever began it has committed it. Until then nobody else can append.

        Raises:
            Unavailable: The database cannot take them now, or its answer was lost: nothing is known
                of them, and appending them again is safe.
            StoreError: One of them can never be stored, or the ``connection`` keeps not what the
                log promises; none was.
        """
        return self.append_prepared([prepare(entry) for entry in entries], connection=connection)

    def append_prepared(
        self, entries: Sequence[Prepared], *, connection: Connection | None = None
    ) -> list[Appended]:
        """Do what `append` does with entries that `prepare` has made ready before."""
        tables = self.store.tables
        keys = [one.key for entry in entries for one in entry.found]
        lookup = Lookup(tables, keys)
        is_ours = connection is None
        opened = (
            self.store.writing(Kind.APPEND, lookup=lookup)
            if connection is None
            else self.store.joining(connection)
        )
        with opened as inside:
            if not is_ours:
                lookup.ask(inside)
            batch = number(entries, known=lookup.known, head=lookup.position)
            if batch.events:
                parts: Parts = [
                    (tables.notification, batch.notifications),
                    (tables.event, batch.events),
                    (tables.dedupe[lookup.generation], batch.keys),
                ]
                moved = (lookup.position + len(batch.events), self.store.now())
                move = write_move(tables, inside.dialect)
                insert_together(inside, parts, then=(move, moved), commits=is_ours)
        return batch.appended

    def head(self) -> int:
        """The position of the newest event; 0 in an empty log."""
        with self.store.reading() as connection:
            return int(connection.execute(select(self.store.tables.head.c.position)).scalar_one())

    def read(
        self,
        *,
        after: int = 0,
        until: int | None = None,
        matching: Filter = EVERYTHING,
        page: int = PAGE,
    ) -> Iterator[Event]:
        """Yield events in order of position, a page at a time; no transaction stays open between.

        Args:
            after: The position to start behind.
            until: The last position; None reads on until there is nothing more.
            matching: Which events.
            page: How many events are fetched at once.
        """
        after, until = self.narrow(after=after, until=until, matching=matching)
        while True:
            found = self.read_page(after=after, until=until, matching=matching, limit=page)
            yield from found.events
            after = found.reached
            if found.is_last:
                return

    def read_page(
        self,
        *,
        after: int,
        limit: int,
        until: int | None = None,
        matching: Filter = EVERYTHING,
        shards: tuple[int, int] | None = None,
        max_bytes: int = PAGE_BYTES,
        replay: Replaying | None = None,
    ) -> Page:
        """Return the next matching events behind ``after``, each body fetched and decoded once.

        Args:
            after: The position to start behind.
            limit: How many events at most, from 1 to `MOST`; a larger one counts as that.
            until: The last position; None is the newest there is.
            matching: Which events.
            shards: The first and last shard; None is all of them.
            max_bytes: Of bodies; the first one is returned however large it is.
            replay: What handlers are told of the replay that the events are read for.
        """
        limit = max(1, min(limit, MOST))
        query = self._select_page(matching, shards is not None)
        first, last = shards or (0, 0)
        with self.store.reading() as connection:
            end: int = connection.execute(self._select_end).scalar_one()
            end = end if until is None else min(end, until)
            if end <= after:
                return Page((), after, is_last=True)
            limits = Limits(after=after, end=end, limit=limit, first=first, last=last)
            events, is_whole = self._pages.read(
                connection, query, limits, max_bytes=max_bytes, replay=replay
            )
        is_last = is_whole and len(events) < limit
        return Page(events, max(after, end) if is_last else events[-1].position, is_last)

    def narrow(self, *, after: int, until: int | None, matching: Filter) -> tuple[int, int | None]:
        """Return the position behind which to read, and the last one, going by times alone.

        Where ``matching`` names times, that saves reading all that is older or newer in search of
        what matches. An event that comes in later may stand behind the last one.
        """
        if matching.since is None and matching.until is None:
            return after, until
        with self.store.reading() as connection:
            first, last = find_events(
                connection, self.store.tables, since=matching.since, until=matching.until
            )
        after = max(after, first - 1)
        if matching.until is None or last is None:  # what is to come may match, too
            return after, until
        return after, last if until is None else min(last, until)

    def find(self, name: str) -> Event:
        """Return the event with this position or id.

        Raises:
            UnknownName: There is none.
        """
        is_number = name.isdecimal() and len(name) < 19  # as many digits always fit 64 bits
        position = int(name) if is_number else position_in(name)
        if position is not None:
            for event in self.read_page(after=position - 1, until=position, limit=1).events:
                if name in (event.id, str(event.position)):
                    return event
        raise UnknownName(f"there is no event {name!r}: `router events list` shows what there is")

    def count_by_type(
        self, *, after: int = 0, until: int | None = None, matching: Filter = EVERYTHING
    ) -> dict[str, int]:
        """Count the matching events by type; types without any are left out."""
        event = self.store.tables.event
        after, until = self.narrow(after=after, until=until, matching=matching)
        query = self._matching(select(event.c.type, func.count()), matching)
        query = query.where(event.c.position > after)
        if until is not None:
            query = query.where(event.c.position <= until)
        with self.store.reading() as connection:
            rows = connection.execute(query.group_by(event.c.type)).all()
        return {row[0]: row[1] for row in rows}

    def find_range(
        self, *, after: int = 0, until: int | None = None, matching: Filter = EVERYTHING
    ) -> tuple[int, int] | None:
        """Return the first and the last position of the matching events; None without any."""
        position = self.store.tables.event.c.position
        after, until = self.narrow(after=after, until=until, matching=matching)
        query = select(func.min(position), func.max(position)).where(position > after)
        if until is not None:
            query = query.where(position <= until)
        with self.store.reading() as connection:
            first, last = connection.execute(self._matching(query, matching)).one()
        return None if first is None else (first, last)

    def _write_page(self, matching: Filter, is_sharded: bool) -> Select[*tuple[Any, ...]]:  # noqa: FBT001
        return self._matching(self._pages.select(is_sharded=is_sharded), matching)

    def _matching(
        self, query: Select[*tuple[Any, ...]], matching: Filter
    ) -> Select[*tuple[Any, ...]]:
        event, notification = self.store.tables.event, self.store.tables.notification
        if matching.sources or matching.since or matching.until:
            query = query.join(notification, notification.c.id == event.c.notification_id)
        return query.where(*_conditions(self.store.tables, matching))


def _conditions(tables: Tables, matching: Filter) -> list[ColumnElement[bool]]:
    event, notification = tables.event.c, tables.notification.c
    is_any = set(EVENT_TYPES) <= set(matching.types)  # SQLite would look for each type by itself
    wanted = [
        (event.type, () if is_any else matching.types),
        (event.subtype, matching.subtypes),
        (event.channel, matching.channels),
        (event.subject, matching.subjects),
        (notification.source, matching.sources),
    ]
    found: list[ColumnElement[bool]] = [column.in_(values) for column, values in wanted if values]
    if matching.ids:
        positions = [position_in(one) or 0 for one in matching.ids]
        found += [event.position.in_(positions), event.id.in_(matching.ids)]
    if matching.live:
        found.append(event.quiet.is_(False))
    if matching.reparsed:
        found.append(event.reparsed.is_(True))
    if matching.since is not None:
        found.append(notification.received_at >= as_micros(matching.since))
    if matching.until is not None:
        found.append(notification.received_at < as_micros(matching.until))
    return found
