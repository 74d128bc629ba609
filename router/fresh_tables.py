"""A plugin's tables once more under other names: to be filled anew, then put in their place."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import (
    Connection,
    Index,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
    inspect,
    quoted_name,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.elements import conv

from router import dependents
from router.errors import RouterError

Names = Mapping[str, str]  # of fresh tables, by those whose place they are to take

ROWS = 500  # deleted at a time
LONGEST = 63 - len("__1234567_old")  # bytes of a name: PostgreSQL cuts off what is beyond 63

# What is no name of a table: texts, comments, names of parameters; and names in quotes, as a whole.
_OTHER = r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/|:\w+|%\(\w+\)s"
_QUOTED = r'"((?:[^"]|"")*)"|`([^`]*)`|\[([^\]]*)\]'


def name_fresh(names: Iterable[str], number: int) -> Names:
    """Return the names of the tables that a rebuild fills.

    Args:
        names: Of the plugin's tables.
        number: The rebuild's id.
    """
    return {name: f"{name}__{number}" for name in names}


def find_obstacle(metadata: MetaData) -> str | None:
    """Return why these tables cannot be filled under other names; None where they can."""
    tables = metadata.sorted_tables
    names = {table.name.lower() for table in tables}
    for table in tables:
        if table.foreign_keys:
            return f"its table {table.name!r} has a foreign key, which would point to the old ones"
        if table.schema is not None:
            return f"its table {table.name!r} has a schema of its own"
        for name in _names_of(table):
            if len(name.encode()) > LONGEST:
                return f"the name {name!r} leaves no room for the number of a rebuild behind it"
        for column in table.columns:
            if column.name.lower() in names:
                return f"its column {table.name}.{column.name} has the name of a table"
    return None


def create(connection: Connection, metadata: MetaData, names: Names) -> None:
    """Make the fresh tables, with their indexes, unless they are there.

    Names of indexes and keys are unique in a database: those of the fresh tables have a number.
    """
    fresh = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        copy = table.to_metadata(fresh, name=names[table.name])
        suffix = names[table.name].removeprefix(table.name)
        _rename_indexes(table, copy, suffix)
        _rename_keys(table, copy, suffix)
    fresh.create_all(connection)


def put_in_place(connection: Connection, names: Names) -> None:
    """Give the fresh tables the names of the old ones, which are kept until `drop_some`.

    Views that read them go on to read what has the name; whoever was allowed to read or write the
    old ones may do so with the fresh ones.

    Raises:
        RouterError: Something has come to hang on the old ones that fresh ones cannot have.
    """
    dependents.lock(connection, chain.from_iterable(names.items()))
    why = dependents.find_hindrance(connection, names)
    if why is not None:
        raise RouterError(why)
    before, after = dependents.list_moves(connection, names)
    is_sqlite = connection.dialect.name == "sqlite"
    there = inspect(connection)
    quote = connection.dialect.identifier_preparer.quote
    changes = [
        f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}"
        for name, fresh in names.items()
        for old, new in ((name, _old(fresh)), (fresh, name))
        if old == fresh or there.has_table(old)  # somebody may have dropped the old one
    ]
    if is_sqlite:
        connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    try:
        for change in (*before, *changes, *after):
            connection.exec_driver_sql(change, execution_options={"no_parameters": True})
    finally:
        if is_sqlite:
            connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")


def drop_some(connection: Connection, names: Names, *, is_old: bool) -> bool:
    """Do away with a part of the tables that are not wanted any more; whether that was the last.

    A table of many rows would keep all others from writing for seconds if it were dropped at once.

    Args:
        connection: Of a transaction that writes.
        names: Of the rebuild's tables.
        is_old: Whether its tables have taken the place of the old ones, which are to go.
    """
    quote = connection.dialect.identifier_preparer.quote
    for fresh in names.values():
        name = _old(fresh) if is_old else fresh
        if not inspect(connection).has_table(name):
            continue
        if connection.dialect.name == "sqlite" and _delete_some(connection, quote(name)):
            return False
        dependents.lock(connection, [name])
        connection.exec_driver_sql(f"DROP TABLE {quote(name)}")
    return True


def take_stock(connection: Connection, names: Names) -> None:
    """Let the server count what is in the tables that have taken the place of others.

    Until then it plans queries as if nothing was in them. SQLite needs no such counts.
    """
    quote = connection.dialect.identifier_preparer.quote
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"ANALYZE {', '.join(map(quote, names))}")


def _delete_some(connection: Connection, table: str) -> bool:
    """Delete some rows of a table whose rows have numbers; whether there may be more."""
    some = f"SELECT rowid FROM {table} LIMIT {ROWS}"  # noqa: S608  # our own, quoted
    try:
        deleted = connection.exec_driver_sql(f"DELETE FROM {table} WHERE rowid IN ({some})")  # noqa: S608
    except DBAPIError:
        return False  # a table WITHOUT ROWID is dropped at once
    return deleted.rowcount == ROWS


def make_renaming(names: Names) -> Callable[[str], str]:
    """Return what puts the fresh names into a statement, in the place of the others."""
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"({_OTHER})|{_QUOTED}|\b(?:{words})\b", re.IGNORECASE | re.DOTALL)
    fresh = {name.lower(): other for name, other in names.items()}

    def put(found: re.Match[str]) -> str:
        quoted = next((one for one in found.groups()[1:] if one is not None), None)
        if found[1] or (quoted is not None and quoted.lower() not in fresh):
            return found[0]
        name = found[0] if quoted is None else quoted
        return found[0].replace(name, fresh[name.lower()])

    @lru_cache(maxsize=1_000)
    def rename(statement: str) -> str:
        return pattern.sub(put, statement)

    return rename


def is_same_index(name: str | None, other: str | None) -> bool:
    """Whether the first is the other's name, or has become it by a rebuild."""
    return name is not None and re.sub(r"__\d+$", "", name) == other


def _old(fresh: str) -> str:
    return f"{fresh}_old"


def _rename_indexes(table: Table, copy: Table, suffix: str) -> None:
    """Name the indexes of ``copy`` like those of ``table``: names are unique in a database."""
    originals = {_form(index): str(index.name) for index in table.indexes}
    for index in copy.indexes:
        index.name = quoted_name(originals[_form(index)] + suffix, quote=None)


def _rename_keys(table: Table, copy: Table, suffix: str) -> None:
    originals = {
        tuple(one.columns.keys()): one.name
        for one in table.constraints
        if isinstance(one, UniqueConstraint | PrimaryKeyConstraint)
    }
    for key in copy.constraints:
        if isinstance(key, UniqueConstraint | PrimaryKeyConstraint):
            name = originals[tuple(key.columns.keys())]
            key.name = None if name is None else conv(f"{name}{suffix}")


def _names_of(table: Table) -> Iterator[str]:
    """Yield the names that a rebuild puts its number behind."""
    yield table.name
    for name in (*(one.name for one in table.indexes), *(one.name for one in table.constraints)):
        if isinstance(name, str):
            yield name


def _form(index: Index) -> Sequence[object]:
    parts = (getattr(one, "name", None) or str(one) for one in index.expressions)
    return tuple(chain((index.unique,), parts))
