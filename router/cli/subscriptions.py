"""`router subscriptions`: how far each one has come, and what holds it up."""

from collections.abc import Iterable

import click

from router.claims import MISSING
from router.cli import control, output, selection
from router.cli.settings import with_log
from router.control import explain_missing
from router.log import EventLog
from router.status import Status, SubscriptionStatus

PROGRESS = ("name", "state", "checkpoint", "head", "lag", "lag_seconds")
FAILURES = ("retrying", "blocked", "dead", "last_error")
COLUMNS = (*PROGRESS, *FAILURES)


@click.group()
def subscriptions() -> None:
    """Look at the subscriptions, and change what becomes of them."""


for command in control.COMMANDS:
    subscriptions.add_command(command)


@subscriptions.command("list")
@output.json_option
@selection.limit_option
@selection.cursor_option
@with_log
def list_(log: EventLog, *, cursor: str | None, limit: int, as_json: bool) -> None:
    """List the subscriptions, how far they lag and what failed."""
    found = Status(log.store).subscriptions(limit=limit + 1, after=cursor or "")
    shown, has_more = selection.take(found, limit)
    next_cursor = shown[-1].name if has_more else None
    if as_json:
        output.print_json([one.as_dict() for one in shown], next_cursor=next_cursor)
        return
    rows = [
        one.as_dict() | {"last_error": output.first_line(one.last_error or "")} for one in shown
    ]
    names = [name.replace("_", " ") for name in COLUMNS]
    output.print_table(names, [[row[name] for name in COLUMNS] for row in rows])
    output.note_more(next_cursor)
    _note_missing(shown)
    if not shown:
        output.note(
            "There are none: one comes into being when `router serve` or `router worker` "
            "first loads its plugin."
        )


@subscriptions.command()
@click.argument("name")
@output.json_option
@with_log
def show(log: EventLog, *, name: str, as_json: bool) -> None:
    """Show one subscription."""
    found = Status(log.store).subscription(name)
    if as_json:
        output.print_json(found.as_details())
    else:
        output.print_fields(found.as_details())
        _note_missing([found])


def _note_missing(found: Iterable[SubscriptionStatus]) -> None:
    """Tell a person what to do where a plugin is gone."""
    for one in found:
        if one.state == MISSING:
            output.note(f"{output.clean(one.name)} is missing: {explain_missing(one.name)}.")
