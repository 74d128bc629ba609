"""Many rows in one statement: what an append does, and does often.

The text of the statements is made of our own tables' names and of place holders, nothing else.

Not `executemany`: the sqlite3 module lets go of the interpreter's lock at each row, and a writer's
thread then waits for the event loop, row after row, to get it back. Not SQLAlchemy's own
``insert().values([...])`` either, which writes such a statement anew each time.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TypeVar

from sqlalchemy import Connection, Dialect, Table

CHUNK = 64  # rows a statement; the widest has 14 columns, SQLite takes 32,766 variables

Values = tuple[object, ...]
T = TypeVar("T")


def insert_rows(connection: Connection, table: Table, rows: Sequence[Values]) -> None:
    """Insert ``rows``, each with a value for every column of ``table`` in its order."""
    for chunk in _chunks(rows):
        statement = _insert(table, len(chunk), connection.dialect)
        connection.exec_driver_sql(statement, tuple(value for row in chunk for value in row))


def find_keys(connection: Connection, tables: Sequence[Table], keys: Sequence[bytes]) -> set[bytes]:
    """Return those of ``keys`` that any of ``tables`` holds in its first column."""
    found: set[bytes] = set()
    for chunk in _chunks(keys):
        statement = _select(tuple(tables), len(chunk), connection.dialect)
        rows = connection.exec_driver_sql(statement, tuple(chunk) * len(tables))
        found.update(row[0] for row in rows)
    return found


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for at in range(0, len(items), CHUNK):
        yield items[at : at + CHUNK]


@lru_cache(maxsize=4096)
def _insert(table: Table, count: int, dialect: Dialect) -> str:
    quote = dialect.identifier_preparer
    columns = ", ".join(quote.format_column(column) for column in table.columns)
    row = _marks(len(table.columns), dialect)
    rows = ", ".join([row] * count)
    return f"INSERT INTO {quote.format_table(table)} ({columns}) VALUES {rows}"  # noqa: S608


@lru_cache(maxsize=4096)
def _select(tables: tuple[Table, ...], count: int, dialect: Dialect) -> str:
    quote = dialect.identifier_preparer
    parts = []
    for table in tables:
        key = quote.format_column(next(iter(table.columns)))
        name, marks = quote.format_table(table), _marks(count, dialect)
        parts.append(f"SELECT {key} FROM {name} WHERE {key} IN {marks}")  # noqa: S608
    return " UNION ALL ".join(parts)


def _marks(count: int, dialect: Dialect) -> str:
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    return f"({', '.join([mark] * count)})"
