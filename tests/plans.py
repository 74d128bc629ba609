"""Which way an engine takes to the rows that a statement wants, while the product runs it."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Engine, event, make_url

# PostgreSQL tells the plan of whatever it runs, with the rows that were read, as a notice.
_TELLING = {
    "session_preload_libraries": "auto_explain",
    "auto_explain.log_min_duration": "0",
    "auto_explain.log_analyze": "on",
    "auto_explain.log_timing": "off",
    "auto_explain.log_level": "notice",
    "auto_explain.log_format": "json",
}


class Way(NamedTuple):
    """How the rows of one table were come by.

    Attributes:
        table: Its name.
        by: The index that found them; None where all of the table was read.
        touched: How many rows were looked at, wanted or not; None where the engine does not tell.
        statement: For whoever looks for the reason.
    """

    table: str
    by: str | None
    touched: int | None
    statement: str


class Watch(Protocol):
    """Notes the ways of all statements in its block."""

    def __call__(self, work: Callable[[], object]) -> list[Way]:
        """Do ``work`` and return the ways that were taken for it."""


def explaining(url: str, *, plans: str = "auto") -> str:
    """Return the URL of a database whose server tells its plans.

    Args:
        url: On whichever engine; SQLite's stays as it is.
        plans: PostgreSQL's ``plan_cache_mode``.
    """
    if url.startswith("sqlite"):
        return url
    options = " ".join(f"-c {key}={value}" for key, value in _TELLING.items())
    query = {"options": f"{options} -c plan_cache_mode={plans}"}
    return make_url(url).update_query_dict(query).render_as_string(hide_password=False)


def make_watch(engine: Engine) -> Watch:
    """Return what notes the ways of an engine's statements; made before it connects."""
    ways: list[Way] = []
    note = _note_sqlite if engine.dialect.name == "sqlite" else _note_postgresql
    note(engine, ways)

    def watch(work: Callable[[], object]) -> list[Way]:
        ways.clear()
        work()
        return list(ways)

    return watch


def _note_postgresql(engine: Engine, ways: list[Way]) -> None:
    def take(diagnostic: Any) -> None:  # noqa: ANN401  # the driver's
        _, _, text = str(diagnostic.message_primary).partition("plan:\n")
        if text:
            told = json.loads(text)
            ways.extend(_read_plan(told["Plan"], told["Query Text"]))

    @event.listens_for(engine, "connect")
    def listen(connection: Any, _entry: object) -> None:  # noqa: ANN401
        connection.add_notice_handler(take)


def _read_plan(plan: dict[str, Any], statement: str) -> Iterator[Way]:
    """Yield the ways in a plan; a bitmap's rows are found by the indexes below it."""
    kind, table = plan["Node Type"], plan.get("Relation Name")
    below = plan.get("Plans", [])
    if table is not None and kind != "ModifyTable":
        index = plan.get("Index Name") or ("a bitmap" if kind.startswith("Bitmap") else None)
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        rows += plan.get("Rows Removed by Index Recheck", 0)
        yield Way(table, index, round(rows * plan["Actual Loops"]), statement)
    for one in below:
        yield from _read_plan(one, statement)


def _note_sqlite(engine: Engine, ways: list[Way]) -> None:
    @event.listens_for(engine, "before_cursor_execute")
    def explain(
        _connection: object,
        cursor: Any,  # noqa: ANN401
        statement: str,
        parameters: Any,  # noqa: ANN401
        _context: object,
        executemany: bool,  # noqa: FBT001
    ) -> None:
        if statement.split(maxsplit=1)[0] not in ("SELECT", "UPDATE", "DELETE"):
            return
        first = parameters[0] if executemany else parameters
        for row in cursor.execute(f"EXPLAIN QUERY PLAN {statement}", first).fetchall():
            verb, _, rest = str(row[3]).partition(" ")
            if verb in ("SCAN", "SEARCH"):
                table, _, how = rest.partition(" ")
                ways.append(Way(table, how if verb == "SEARCH" else None, None, statement))
