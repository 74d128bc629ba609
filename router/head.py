"""The head row, which whoever appends locks first and moves last: so positions have no gaps."""

from sqlalchemy import Dialect, Select, Update, bindparam, select, update

from router.bulk import Query
from router.schema import Tables

LOG = "main"  # the row of `head`


def select_head(tables: Tables) -> Select[int, int]:
    """Return the query that locks the head and gives its ``position`` and ``generation``."""
    head = tables.head
    query = select(head.c.position, head.c.generation).where(head.c.log == LOG)
    return query.with_for_update()


def ask_head(tables: Tables, dialect: Dialect) -> Query:
    """Return the same as a query of the driver's: a row of the position and the generation."""
    compiled = select_head(tables).compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    return str(compiled), ()


def move_head(tables: Tables) -> Update:
    """Return the statement that moves the head to position ``:end`` at the log time ``:at``."""
    head = tables.head.c
    moved = update(tables.head).where(head.log == LOG)
    return moved.values(position=bindparam("end"), appended_at=bindparam("at"))
