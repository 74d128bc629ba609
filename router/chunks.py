"""A table's rows in the order of their keys, chunk by chunk: read, put elsewhere, and summed up."""

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Date,
    DateTime,
    Enum,
    Float,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    func,
    insert,
    select,
    tuple_,
)
from sqlalchemy.sql.elements import ColumnElement

from router.store import Store

ROWS = 1_000
BYTES = 4 * 1024 * 1024  # after which a chunk ends, for the sake of memory
FETCHED = 20  # rows at a time: bodies may be large
SUM_BYTES = 16

# What means the same on every engine, to the last bit.
PORTABLE = (Boolean, Date, DateTime, Float, Integer, LargeBinary, String)

Values = tuple[Any, ...]
Change = Callable[[Values], Values]


class Chunk(msgspec.Struct, frozen=True):
    """Rows that follow each other.

    Attributes:
        rows: Their values, in the order of the table's columns.
        after: The key that they come after; None is the beginning.
        last: The key of the last of them; None where no row follows.
    """

    rows: Sequence[Values]
    after: Values | None
    last: Values | None


class Sum(msgspec.Struct, frozen=True):
    """What two tables of the same rows have in common.

    Attributes:
        rows: How many there are.
        digest: BLAKE2b over all values in the order of the keys, in hexadecimal digits.
    """

    rows: int
    digest: str


def is_portable(table: Table) -> bool:
    """Whether its rows have an order and mean the same on every engine."""
    types = [column.type for column in table.columns]
    return bool(table.primary_key.columns) and all(
        isinstance(one, PORTABLE)
        and not isinstance(one, Enum)
        and not (isinstance(one, DateTime) and one.timezone)
        for one in types
    )


def read_chunks(store: Store, table: Table, *, change: Change | None = None) -> Iterator[Chunk]:
    """Yield a table's rows as they are to be at the target; no transaction stays open meanwhile."""
    after: Values | None = None
    while True:
        with store.reading() as connection:
            chunk = _read_chunk(connection, table, after=after)
        after = chunk.last
        if change is not None:
            chunk = msgspec.structs.replace(chunk, rows=[change(row) for row in chunk.rows])
        yield chunk
        if after is None:
            return


def read_same(connection: Connection, table: Table, chunk: Chunk) -> list[Values]:
    """Return the rows between the same keys, of another database."""
    query = select(table).where(*_between(connection, table, chunk))
    return [tuple(row) for row in connection.execute(query.order_by(*_order(connection, table)))]


def put(connection: Connection, table: Table, chunk: Chunk) -> None:
    """Let the rows of a chunk be all that there is between its keys."""
    connection.execute(delete(table).where(*_between(connection, table, chunk)))
    if chunk.rows:
        names = [column.key for column in table.columns]
        rows = [dict(zip(names, row, strict=True)) for row in chunk.rows]
        connection.execute(insert(table), rows)


def sum_up(chunks: Iterator[Chunk]) -> Sum:
    """Return what tells the rows of all ``chunks`` of a table from others."""
    found = blake2b(digest_size=SUM_BYTES)
    count = 0
    for chunk in chunks:
        for row in chunk.rows:
            found.update(msgspec.msgpack.encode(row))
        count += len(chunk.rows)
    return Sum(count, found.hexdigest())


def number_on(connection: Connection, table: Table) -> None:
    """Let the server number new rows behind those that were copied with their numbers."""
    column = table.autoincrement_column
    if column is None or connection.dialect.name != "postgresql":
        return
    highest = connection.scalars(select(func.max(column))).one()
    name = connection.dialect.identifier_preparer.format_table(table)
    sequence = connection.scalars(select(func.pg_get_serial_sequence(name, column.name))).one()
    if highest is not None and sequence is not None:
        connection.execute(select(func.setval(sequence, highest)))


def _read_chunk(connection: Connection, table: Table, *, after: Values | None) -> Chunk:
    """Return the rows that come after a key, as many as one takes at a time."""
    query = select(table).order_by(*_order(connection, table)).limit(ROWS)
    if after is not None:
        query = query.where(_beyond(connection, table, after))
    rows: list[Values] = []
    size = 0
    with connection.execution_options(yield_per=FETCHED).execute(query) as found:
        for row in found:
            rows.append(tuple(row))
            size += sum(len(value) for value in row if isinstance(value, bytes | str))
            if size >= BYTES:
                break
    is_end = len(rows) < ROWS and size < BYTES
    return Chunk(rows, after, None if is_end else _key_of(table, rows[-1]))


def _key_of(table: Table, row: Values) -> Values:
    """Return the values of a row's key."""
    at = [column.key for column in table.columns]
    return tuple(row[at.index(column.key)] for column in table.primary_key.columns)


def _order(connection: Connection, table: Table) -> list[ColumnElement[Any]]:
    """Return what puts the rows into the same order on every engine: texts by their bytes."""
    is_plain = connection.dialect.name == "sqlite"
    return [_plainly(one, is_plain=is_plain) for one in table.primary_key.columns]


def _plainly(column: Column[Any], *, is_plain: bool) -> ColumnElement[Any]:
    if is_plain or not isinstance(column.type, String):
        return column
    return column.collate("C")


def _beyond(connection: Connection, table: Table, key: Values) -> ColumnElement[bool]:
    order = _order(connection, table)
    return order[0] > key[0] if len(key) == 1 else tuple_(*order) > key


def _between(connection: Connection, table: Table, chunk: Chunk) -> list[ColumnElement[bool]]:
    found = []
    if chunk.after is not None:
        found.append(_beyond(connection, table, chunk.after))
    if chunk.last is not None:
        order = _order(connection, table)
        is_one = len(order) == 1
        found.append(order[0] <= chunk.last[0] if is_one else tuple_(*order) <= chunk.last)
    return found
