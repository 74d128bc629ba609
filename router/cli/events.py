"""`router events`: what the log holds, as a list, one by one, as it grows, or all of it."""

import json
from collections.abc import Sequence

import click

from router import bodies
from router.cli import output, selection
from router.cli.reparse import reparse
from router.cli.settings import with_log
from router.cli.tail import tail
from router.events import Event
from router.fates import Fate, find_fates
from router.filters import Filter
from router.log import PAGE, EventLog

COLUMNS = ("position", "received at", "type", "subtype", "source", "subject", "external id")


@click.group()
def events() -> None:
    """Look at the events in the log, or find what an adapter has missed."""


@events.command("list")
@output.json_option
@selection.limit_option
@selection.position_cursor_option
@selection.after_option
@selection.with_filter
@with_log
def list_(
    log: EventLog,
    *,
    matching: Filter,
    after: int | None,
    cursor: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """List events in order of position."""
    start = max(after or 0, cursor or 0)
    read = log.read(after=start, matching=matching, page=min(limit + 1, PAGE))
    found, has_more = selection.take(read, limit)
    next_cursor = str(found[-1].position) if has_more else None
    if as_json:
        output.print_json([event.as_dict() for event in found], next_cursor=next_cursor)
        return
    output.print_table(COLUMNS, [row_of(event) for event in found])
    output.note_more(next_cursor)
    if not found:
        output.note("No such events." if start or matching != Filter() else "The log is empty.")


@events.command()
@click.argument("event", metavar="POSITION_OR_ID")
@click.option(
    "--plugins", "with_fates", is_flag=True, help="What became of it in each subscription, and why."
)
@output.json_option
@with_log
def show(log: EventLog, *, event: str, with_fates: bool, as_json: bool) -> None:
    """Show one event with its payload and its headers."""
    found = log.find(event)
    fates = find_fates(log.store, found.position) if with_fates else []
    if as_json:
        told = {"plugins": [fate.as_dict() for fate in fates]} if with_fates else {}
        output.print_json(found.as_dict() | told)
        return
    fields = found.as_dict()
    payload = fields.pop("payload")
    output.print_fields(fields)
    output.print_text(f"\npayload:\n{_indent(payload)}")
    output.print_text("\nheaders:")
    output.print_table(("name", "value"), sorted(found.notification.headers.items()))
    if with_fates:
        _print_fates(fates)


@events.command()
@click.option("--json", "_as_json", is_flag=True, help="Changes nothing: the export is JSON.")
@selection.after_option
@selection.with_filter
@with_log
def export(log: EventLog, *, matching: Filter, after: int | None, _as_json: bool) -> None:
    """Print all events, or those that match, as JSON lines."""
    for event in log.read(after=after or 0, until=log.head(), matching=matching):
        output.print_line(event.as_dict(), flush=False)
    output.flush()


events.add_command(reparse)
events.add_command(tail)


def row_of(event: Event) -> tuple[object, ...]:
    """Return the cells of an event in a list."""
    return (
        event.position,
        event.received_at,
        event.type,
        event.subtype,
        event.source,
        event.subject,
        event.external_id,
    )


def _print_fates(fates: Sequence[Fate]) -> None:
    output.print_text("\nplugins:")
    rows = [(fate.subscription, fate.state, fate.why) for fate in fates]
    output.print_table(("subscription", "state", "why"), rows)
    output.note(
        "A plugin that is not named has never been run on this database: `router plugins check` "
        "says what is wrong with those that are there."
        if fates
        else "No plugin has been run on this database yet: start `router serve` or `router worker`."
    )


def _indent(payload: object) -> str:
    text = json.dumps(json.loads(bodies.encode(payload)), indent=2, ensure_ascii=False)
    return "\n".join(output.clean(line) for line in text.split("\n"))
