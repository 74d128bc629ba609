"""Many rows in one statement: what an append does, and does often.

The text of the statements is made of our own tables' names and of place holders, nothing else.
Each engine has its own way, side by side, since each was found to spend most of an append on what
its driver does to every single value (`docs/decisions`). A host's connection may have another
driver than ours; there it is SQLAlchemy's way.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import chain, product
from typing import TypeVar, cast

from sqlalchemy import Boolean, Connection, Dialect, LargeBinary, String, Table, insert, select
from sqlalchemy.types import TypeEngine

from router.roundtrips import execute_last

CHUNK = 64  # rows a statement on SQLite; the widest has 14 columns, it takes 32,766 variables
OURS = ("pysqlite", "aiosqlite", "psycopg", "psycopg_async")  # drivers; those that speak as they do

Values = tuple[object, ...]
Parts = Sequence[tuple[Table, Sequence[Values]]]
T = TypeVar("T")


def insert_together(
    connection: Connection,
    parts: Parts,
    *,
    then: tuple[str, Values],
    commits: bool = False,
) -> None:
    """Insert rows into several tables, and do ``then``: in one statement where there is a server.

    So a lock is held for one way to the server and back. All at once, but each statement by itself,
    would be as quick; but a process that froze in the middle would keep the lock, since no time-out
    of the server's ends its wait for the rest (before PostgreSQL 17): only others do, see
    `router.postgresql.end_holders`. So no more than the COMMIT goes along.

    Args:
        connection: Of a transaction that writes.
        parts: The tables, each with at least one row; a row has a value for every column, in its
            order. Those of one table may all end before its last ones, which then stay empty.
        then: A statement without a result, and its parameters.
        commits: Whether it is all that the transaction has still to do, which is our own; where it
            saves a way to the server, that is committed, too.
    """
    text, values = then
    if connection.dialect.driver not in OURS:
        for table, rows in parts:
            names = [column.name for column in table.columns]
            connection.execute(insert(table), [dict(zip(names, row, strict=False)) for row in rows])
        connection.exec_driver_sql(text, values)
    elif connection.dialect.name == "sqlite":
        for table, rows in parts:
            for chunk in _chunks(rows):
                statement = _insert_values(table, len(chunk), len(chunk[0]), connection.dialect)
                connection.exec_driver_sql(statement, tuple(chain.from_iterable(chunk)))
        connection.exec_driver_sql(text, values)
    else:
        execute = execute_last if commits else Connection.exec_driver_sql
        execute(connection, *_write_together(parts, text, values, connection.dialect))


def find_keys(connection: Connection, tables: Sequence[Table], keys: Sequence[bytes]) -> set[bytes]:
    """Return those of ``keys`` that any of ``tables`` holds in its first column."""
    found: set[bytes] = set()
    if connection.dialect.driver not in OURS:
        for table, chunk in product(tables, _chunks(keys)):
            key = next(iter(table.columns))
            found.update(connection.scalars(select(key).where(key.in_(chunk))))
    elif connection.dialect.name == "sqlite":
        for chunk in _chunks(keys):
            statement = _select_in(tuple(tables), len(chunk), connection.dialect)
            rows = connection.exec_driver_sql(statement, tuple(chunk) * len(tables))
            found.update(row[0] for row in rows)
    elif keys:
        statement = _select_any(tuple(tables), connection.dialect)
        rows = connection.exec_driver_sql(statement, (list(keys),) * len(tables))
        found.update(row[0] for row in rows)
    return found


def write_find(tables: Sequence[Table], keys: Sequence[bytes], dialect: Dialect) -> str:
    """Return what `find_keys` executes on PostgreSQL, with the keys in its text."""
    array = ",".join([f'"\\\\\\\\x{key.hex()}"' for key in keys])
    return _select_keys(tables, f"= ANY(E'{{{array}}}'::bytea[])", dialect)


# SQLite. Not `executemany`: the sqlite3 module lets go of the interpreter's lock at each row, and
# a writer's thread then waits for the event loop, row after row, to get it back. Not SQLAlchemy's
# own ``insert().values([...])`` either, which writes such a statement anew each time.


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), CHUNK):
        yield items[at : at + CHUNK]


@lru_cache(maxsize=4096)
def _insert_values(table: Table, count: int, width: int, dialect: Dialect) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{_insert_into(table, width, dialect)} VALUES {', '.join([row] * count)}"


@lru_cache(maxsize=4096)
def _select_in(tables: tuple[Table, ...], count: int, dialect: Dialect) -> str:
    return _select_keys(tables, f"IN ({', '.join('?' * count)})", dialect)


# PostgreSQL. One array a column: the statement is the same for any number of rows, and stays
# prepared. What is in the arrays is spelt out here, as the server reads arrays, since the driver
# takes ten times as long to find out each value's type; bytes alone are sent as they are.

Writer = Callable[[Sequence[object]], object]


def _write_together(
    parts: Parts, then: str, values: Values, dialect: Dialect
) -> tuple[str, Values]:
    texts: list[str] = []
    arrays: list[object] = []
    for number, (table, rows) in enumerate(parts):
        statement, writers = _insert_arrays(table, len(rows[0]), dialect)
        columns = zip(*rows, strict=True)
        texts.append(f"part{number} AS ({statement})")
        arrays += [write(column) for write, column in zip(writers, columns, strict=True)]
    return f"WITH {', '.join(texts)} {then}", (*arrays, *values)


@lru_cache(maxsize=256)
def _insert_arrays(table: Table, width: int, dialect: Dialect) -> tuple[str, tuple[Writer, ...]]:
    types = [column.type for column in table.columns][:width]
    arrays = [
        f"{'%b' if isinstance(type_, LargeBinary) else '%s'}::{_array_of(type_, dialect)}"
        for type_ in types
    ]
    into = _insert_into(table, width, dialect)
    text = f"{into} SELECT * FROM unnest({', '.join(arrays)})"  # noqa: S608
    return text, tuple(_find_writer(type_) for type_ in types)


@lru_cache(maxsize=256)
def _select_any(tables: tuple[Table, ...], dialect: Dialect) -> str:
    return _select_keys(tables, "= ANY(%b::bytea[])", dialect)


def _array_of(type_: TypeEngine[object], dialect: Dialect) -> str:
    return f"{type_.compile(dialect)}[]"


def _find_writer(type_: TypeEngine[object]) -> Writer:
    if isinstance(type_, LargeBinary):
        return list
    if isinstance(type_, String):
        return _write_texts
    return _write_switches if isinstance(type_, Boolean) else _write_numbers


def _write_numbers(values: Sequence[object]) -> str:
    return f"{{{','.join(['NULL' if value is None else str(value) for value in values])}}}"


def _write_switches(values: Sequence[object]) -> str:
    return f"{{{','.join(['t' if value else 'f' for value in values])}}}"


def _write_texts(values: Sequence[object]) -> str:
    return f"{{{','.join([_quote(cast('str | None', value)) for value in values])}}}"


def _quote(text: str | None) -> str:
    if text is None:
        return "NULL"
    if "\\" in text or '"' in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


# Both.


def _insert_into(table: Table, width: int, dialect: Dialect) -> str:
    quote = dialect.identifier_preparer
    columns = ", ".join(quote.format_column(column) for column in list(table.columns)[:width])
    return f"INSERT INTO {quote.format_table(table)} ({columns})"


def _select_keys(tables: Sequence[Table], condition: str, dialect: Dialect) -> str:
    quote = dialect.identifier_preparer
    parts = []
    for table in tables:
        key = quote.format_column(next(iter(table.columns)))
        parts.append(f"SELECT {key} FROM {quote.format_table(table)} WHERE {key} {condition}")  # noqa: S608
    return " UNION ALL ".join(parts)
