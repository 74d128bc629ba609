"""`router workers`: the processes that deliver."""

import click

from router.cli import output, selection
from router.cli.settings import with_log
from router.log import EventLog
from router.status import Status


@click.group()
def workers() -> None:
    """Look at the processes that deliver."""


@workers.command("list")
@output.json_option
@selection.limit_option
@selection.cursor_option
@with_log
def list_(log: EventLog, *, cursor: str | None, limit: int, as_json: bool) -> None:
    """List the workers: whether each is alive, and what it runs."""
    found = Status(log.store).workers(limit=limit + 1, after=cursor or "")
    shown, has_more = selection.take(found, limit)
    next_cursor = shown[-1].id if has_more else None
    if as_json:
        output.print_json([worker.as_dict() for worker in shown], next_cursor=next_cursor)
        return
    rows = [{**one.as_dict(), "owned": ", ".join(map(str, one.owned))} for one in shown]
    if rows:
        names = [name.replace("_", " ") for name in rows[0]]
        output.print_table(names, [list(row.values()) for row in rows])
    else:
        output.note("No worker runs: start `router serve` or `router worker`.")
    output.note_more(next_cursor)
