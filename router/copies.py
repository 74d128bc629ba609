"""A whole log from one database to another, with all progress, to go on there where it was here."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec
from sqlalchemy import Connection, Select, Table, func, insert, select
from sqlalchemy.exc import DBAPIError

from router import audit, migrate
from router.chunks import Change, Chunk, Sum, Values, number_on, put, read_chunks, read_same, sum_up
from router.errors import RouterError
from router.lane import LEASE_MICROS
from router.replay_states import FINISHED
from router.schema import Tables
from router.store import Store

# All but the head, which comes last, and the workers, who are not there. Bodies come first, for
# they take the longest; and nothing refers to what comes behind it.
ROW_BY_ROW = (
    *("notification", "event", "dedupe_a", "dedupe_b", "alias", "subscription", "lane"),
    *("parked", "blocked", "attempt", "replay", "intent", "audit"),
)

COPYING, COMPARING = "copied", "compared"

Tell = Callable[[str, str, int], None]  # what is done, with which table, and how many rows by then


class CopyError(RouterError):
    """A log was not copied, or not all of it; says why and what to do."""


class Copied(msgspec.Struct, frozen=True):
    """What a copy has brought over.

    Attributes:
        position: The highest one of the log.
        tables: What is the same in both databases, by the name of the table at the source.
    """

    position: int
    tables: Mapping[str, Sum]


class Copy:
    """A copy of one log into an empty database; cut short, it is gone on with by another one.

    Until it has ended, no part of the router takes the target for a log: the revision says that it
    is unfinished, and the head is not there. Who works is not copied, nor who owns which lane.

    Args:
        source: Where the log is. Nothing may work on it: what changes there is found out.
        target: Where it goes: tables of this version, without a row.
        others: Tables of plugins, which are in both databases; see `chunks.is_portable`.
        tell: Told how far it has come, after each step.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        *,
        others: Sequence[Table] = (),
        tell: Tell = lambda _what, _table, _rows: None,
    ) -> None:
        self._source = source
        self._target = target
        self._pairs = [*_pair(source.tables, target.tables), *((one, one) for one in others)]
        self._tell = tell

    def make(self, *, by: str) -> Copied:
        """Copy all that is not there yet, compare both sides, and let the target be a log.

        Args:
            by: Who wants it, for the record.

        Raises:
            CopyError: Somebody works on the source or has changed it meanwhile, or the target holds
                something else. What was copied stays for the next time.
            SchemaError: One of the two is not at this version, or another copy came first.
        """
        self._source.require_current()
        self._require_rest()
        self._begin()
        head, state = self._read_head(), self._find_state()
        for here, there in self._pairs:
            self._copy(here, there)
        sums = {str(here.name): self._compare(here, there) for here, there in self._pairs}
        self._require_rest()
        if (self._read_head(), self._find_state()) != (head, state):
            raise self._changed("its head or its lanes moved, or an operator changed something")
        return self._finish(head, sums, by=by)

    def _require_rest(self) -> None:
        """Refuse a source that somebody works on, or whose plugins' tables are being exchanged."""
        tables, now = self._source.tables, self._source.now
        worker, replay = tables.worker.c, tables.replay.c
        rebuilds = select(replay.id).where(replay.rebuilds != "[]", replay.state.not_in(FINISHED))
        with self._source.reading() as connection:
            alive = select(worker.host, worker.pid).where(worker.seen_at >= now() - LEASE_MICROS)
            found = connection.execute(alive).first()
            rebuild = connection.scalars(rebuilds).first()
        name = migrate.describe(self._source.engine)
        if found is not None:
            raise CopyError(
                f"process {found.pid} on {found.host} works on {name}, or did a moment ago: stop "
                "all workers and receivers first, and keep them stopped"
            )
        if rebuild is not None:
            raise CopyError(
                f"rebuild {rebuild} is under way in {name}, and what it fills is not copied: let "
                f"it end, or `router replay cancel {rebuild}`"
            )

    def _begin(self) -> None:
        """Shut the target off, or see that it holds the beginning of a copy of this very log."""
        target = self._target
        if migrate.is_unfinished(target.engine, target.tables):
            self._require_same_log()
            return
        target.require_current()
        head = target.tables.head
        with target.writing() as connection:
            connection.execute(select(head).with_for_update())
            for _, table in self._pairs:
                self._require_empty(connection, table)
            self._require_empty(connection, target.tables.worker)
            if connection.scalars(select(func.max(head.c.position))).one() != 0:
                raise self._not_empty(head)
            connection.execute(head.delete())  # who runs there already appends nothing any more
            migrate.mark_unfinished(connection, target.tables, is_unfinished=True)
        self._source.require_current()  # it was not itself that has been shut off

    def _require_empty(self, connection: Connection, table: Table) -> None:
        if connection.execute(select(1).select_from(table).limit(1)).first() is not None:
            raise self._not_empty(table)

    def _not_empty(self, table: Table) -> CopyError:
        return CopyError(
            f"the table {table.name} in {migrate.describe(self._target.engine)} is not empty: a "
            "log is copied into a new database alone, after `router db upgrade`"
        )

    def _require_same_log(self) -> None:
        here, there = self._source.tables.event.c, self._target.tables.event.c
        newest = select(there.position, there.id).order_by(there.position.desc()).limit(1)
        with self._target.reading() as connection:
            last = connection.execute(newest).first()
        if last is None:
            return
        with self._source.reading() as connection:
            found = connection.scalars(select(here.id).where(here.position == last[0])).first()
        if found != last[1]:
            raise CopyError(
                f"{migrate.describe(self._target.engine)} holds a part of another log than that "
                f"in {migrate.describe(self._source.engine)}: make it anew, and copy into that"
            )

    def _read_head(self) -> dict[str, Any]:
        with self._source.reading() as connection:
            row = connection.execute(select(self._source.tables.head)).mappings().one()
        return dict(row)

    def _find_state(self) -> list[list[str]]:
        """Return what changes, beside the head, with whatever is done to a log."""
        tables = self._source.tables
        queries: list[Select[Any]] = [select(one) for one in (tables.lane, tables.replay)]
        queries.append(select(func.max(tables.audit.c.id)))
        with self._source.reading() as connection:
            return [sorted(map(repr, connection.execute(query))) for query in queries]

    def _copy(self, here: Table, there: Table) -> None:
        """Bring one table over; chunks that are the same already are only read."""
        count = 0
        for chunk in read_chunks(self._source, here, change=self._change_of(here)):
            with self._target.reading() as connection:
                is_there = read_same(connection, there, chunk) == chunk.rows
            if not is_there:
                self._put(there, chunk)
            count += len(chunk.rows)
            self._tell(COPYING, here.name, count)

    def _put(self, table: Table, chunk: Chunk) -> None:
        try:
            with self._target.writing() as connection:
                migrate.require_unfinished(connection, self._target.tables)
                put(connection, table, chunk)
        except DBAPIError as error:
            raise CopyError(
                f"{migrate.describe(self._target.engine)} does not take rows of {table.name}: "
                f"{error.orig}"
            ) from error

    def _compare(self, here: Table, there: Table) -> Sum:
        ours = sum_up(read_chunks(self._source, here, change=self._change_of(here)))
        theirs = sum_up(read_chunks(self._target, there))
        if ours != theirs:
            raise self._changed(
                f"table {here.name} has {ours.rows} rows, and {theirs.rows} were copied"
                + (", with other values" if ours.rows == theirs.rows else "")
            )
        self._tell(COMPARING, here.name, ours.rows)
        return ours

    def _changed(self, what: str) -> CopyError:
        return CopyError(
            f"{migrate.describe(self._source.engine)} changed while it was copied ({what}): stop "
            "all that works on either database, and give the same command again; it goes on from "
            "what is there"
        )

    def _change_of(self, table: Table) -> Change | None:
        return partial(_set_free, table) if table is self._source.tables.lane else None

    def _finish(self, head: Mapping[str, Any], sums: Mapping[str, Sum], *, by: str) -> Copied:
        """Let the target be a log, in one transaction."""
        target = self._target.tables
        position: int = head["position"]
        rows = {name: one.rows for name, one in sums.items()}
        with self._target.writing() as connection:
            migrate.require_unfinished(connection, target)
            connection.execute(insert(target.head).values(**head))
            for _, table in self._pairs:
                number_on(connection, table)
            audit.record(
                connection,
                self._target,
                actor=by,
                action="db copy",
                target=migrate.describe(self._source.engine),
                detail={"position": position, "rows": rows},
            )
            migrate.mark_unfinished(connection, target, is_unfinished=False)
        return Copied(position, sums)


def _pair(here: Tables, there: Tables) -> Iterator[tuple[Table, Table]]:
    """Yield the tables that are copied row by row, each with the one that it is copied to."""
    for name in ROW_BY_ROW:
        yield getattr(here, name), getattr(there, name)


def _set_free(table: Table, row: Values) -> Values:
    """Return a lane that nobody owns: its owners write to the source, if to anything."""
    nobody = {"owner": None, "expires_at": None}
    return tuple(
        nobody.get(column.name, value) for column, value in zip(table.columns, row, strict=True)
    )
