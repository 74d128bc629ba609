"""A plugin's tables once more under other names: to be filled anew, then put in their place."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import chain

from sqlalchemy import Connection, Index, MetaData, Table, quoted_name

Names = Mapping[str, str]  # of fresh tables, by those whose place they are to take

# What is no name of a table: texts and comments.
_LITERAL = r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/"


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
        for column in table.columns:
            if column.name.lower() in names:
                return f"its column {table.name}.{column.name} has the name of a table"
    return None


def create(connection: Connection, metadata: MetaData, names: Names) -> None:
    """Make the fresh tables, with their indexes, unless they are there."""
    fresh = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        copy = table.to_metadata(fresh, name=names[table.name])
        suffix = names[table.name].removeprefix(table.name)
        _rename_indexes(table, copy, suffix)
    fresh.create_all(connection)


def put_in_place(connection: Connection, names: Names) -> None:
    """Give the fresh tables the names of the old ones, which are kept until `drop_old`.

    Views that read them go on to read what has the name.
    """
    if connection.dialect.name == "sqlite":  # else it would change the views, too
        connection.exec_driver_sql("PRAGMA legacy_alter_table = ON")
    quote = connection.dialect.identifier_preparer.quote
    for name, fresh in names.items():
        for old, new in ((name, _old(fresh)), (fresh, name)):
            connection.exec_driver_sql(f"ALTER TABLE {quote(old)} RENAME TO {quote(new)}")
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA legacy_alter_table = OFF")


def drop_fresh(connection: Connection, names: Names) -> None:
    """Do away with the fresh tables of a rebuild that came to nothing."""
    _drop(connection, names.values())


def drop_old(connection: Connection, names: Names) -> None:
    """Do away with the tables whose place was taken."""
    _drop(connection, [_old(fresh) for fresh in names.values()])


def make_renaming(names: Names) -> Callable[[str], str]:
    """Return what puts the fresh names into a statement, in the place of the others."""
    words = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    pattern = re.compile(rf"({_LITERAL})|\b(?:{words})\b", re.IGNORECASE | re.DOTALL)
    fresh = {name.lower(): other for name, other in names.items()}

    def put(found: re.Match[str]) -> str:
        return found[1] or fresh[found[0].lower()]

    @lru_cache(maxsize=1_000)
    def rename(statement: str) -> str:
        return pattern.sub(put, statement)

    return rename


def is_same_index(name: str | None, other: str | None) -> bool:
    """Whether the first is the other's name, or has become it by a rebuild."""
    return name is not None and re.sub(r"__\d+$", "", name) == other


def _old(fresh: str) -> str:
    return f"{fresh}_old"


def _drop(connection: Connection, names: Iterable[str]) -> None:
    quote = connection.dialect.identifier_preparer.quote
    for name in names:
        connection.exec_driver_sql(f"DROP TABLE IF EXISTS {quote(name)}")


def _rename_indexes(table: Table, copy: Table, suffix: str) -> None:
    """Name the indexes of ``copy`` like those of ``table``: names are unique in a database."""
    originals = {_form(index): str(index.name) for index in table.indexes}
    for index in copy.indexes:
        index.name = quoted_name(originals[_form(index)] + suffix, quote=None)


def _form(index: Index) -> Sequence[object]:
    parts = (getattr(one, "name", None) or str(one) for one in index.expressions)
    return tuple(chain((index.unique,), parts))
