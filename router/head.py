"""The head row, which whoever appends locks first and moves last: so positions have no gaps."""

from sqlalchemy import Dialect, Select, select

from router.schema import Tables

LOG = "main"  # the row of `head`


def select_head(tables: Tables) -> Select[int, int]:
    """Return the query that locks the head and gives its ``position`` and ``generation``."""
    head = tables.head
    query = select(head.c.position, head.c.generation).where(head.c.log == LOG)
    return query.with_for_update()


def write_move(tables: Tables, dialect: Dialect) -> str:
    """Return the statement that moves the head, with marks for the position and the log time."""
    table = dialect.identifier_preparer.format_table(tables.head)
    mark = "?" if dialect.paramstyle == "qmark" else "%s"
    return f"UPDATE {table} SET position = {mark}, appended_at = {mark} WHERE log = '{LOG}'"  # noqa: S608
