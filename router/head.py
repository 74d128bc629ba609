"""The head row, which whoever appends locks first and moves last: so positions have no gaps."""

from functools import lru_cache

from sqlalchemy import Dialect, Select, select

from router.schema import Tables

LOG = "main"  # the row of `head`
MARKS = {"qmark": ("?", "?"), "numeric_dollar": ("$1", "$2")}  # by how a driver has them


@lru_cache(maxsize=256)  # to make it costs an append more than to execute it
def select_head(tables: Tables) -> Select[int, int]:
    """Return the query that locks the head and gives its ``position`` and ``generation``."""
    head = tables.head
    query = select(head.c.position, head.c.generation).where(head.c.log == LOG)
    return query.with_for_update()


@lru_cache(maxsize=256)
def write_move(tables: Tables, dialect: Dialect) -> str:
    """Return the statement that moves the head, with marks for the position and the log time."""
    table = dialect.identifier_preparer.format_table(tables.head)
    first, second = MARKS.get(dialect.paramstyle, ("%s", "%s"))
    return f"UPDATE {table} SET position = {first}, appended_at = {second} WHERE log = '{LOG}'"  # noqa: S608
