"""`router dead`: deliveries that were given up, and why."""

import click

from router.cli import output, selection
from router.cli.settings import with_log
from router.dead import Attempt, DeadLetters
from router.events import EVENT_TYPES
from router.lanes import LIVE
from router.log import EventLog

COLUMNS = ("subscription", "position", "type", "subject", "attempts", "parked_at", "error")

replay_option = click.option(
    "--replay",
    "run",
    type=click.IntRange(1, selection.LAST),
    metavar="ID",
    help="Of this replay, instead of live delivery.",
)


@click.group()
def dead() -> None:
    """Look at the dead letters."""


@dead.command("list")
@click.option("--subscription", "subscriptions", multiple=True, metavar="NAME", help="Of this one.")
@click.option(
    "--type", "types", multiple=True, type=click.Choice(EVENT_TYPES), help="Of events of this type."
)
@replay_option
@output.json_option
@selection.limit_option
@selection.cursor_option
@with_log
def list_(
    log: EventLog,
    *,
    subscriptions: tuple[str, ...],
    types: tuple[str, ...],
    run: int | None,
    cursor: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the dead letters, in order of position."""
    letters = DeadLetters(log.store).list(
        limit=limit + 1,
        after=_read_cursor(cursor),
        subscriptions=subscriptions,
        types=types,
        run=run or LIVE,
    )
    shown, has_more = selection.take(letters, limit)
    next_cursor = f"{shown[-1].position}:{shown[-1].subscription}" if has_more else None
    if as_json:
        output.print_json([one.as_dict() for one in shown], next_cursor=next_cursor)
        return
    rows = [one.as_dict() | {"error": output.first_line(one.error)} for one in shown]
    names = [name.replace("_", " ") for name in COLUMNS]
    output.print_table(names, [[row[name] for name in COLUMNS] for row in rows])
    output.note_more(next_cursor)
    if not shown:
        output.note("There are no such dead letters.")


@dead.command()
@click.argument("subscription")
@click.argument("position", type=selection.Position)
@replay_option
@output.json_option
@with_log
def show(
    log: EventLog, *, subscription: str, position: int, run: int | None, as_json: bool
) -> None:
    """Show one dead letter with its attempts."""
    letters = DeadLetters(log.store)
    letter = letters.find(subscription, position, run=run or LIVE)
    history = letters.attempts(letter, run=run or LIVE)
    if as_json:
        calls = [attempt.as_dict() for attempt in history]
        output.print_json(letter.as_dict() | {"history": calls})
        return
    output.print_fields(letter.as_dict())
    for attempt in history:
        output.print_text(f"\n{_describe(attempt)}")


def _read_cursor(cursor: str | None) -> tuple[str, int]:
    position, _, subscription = (cursor or "0:").partition(":")
    if not (position.isdecimal() and int(position) <= selection.LAST):
        raise click.BadParameter(f"{cursor!r} is no cursor of this list", param_hint="--cursor")
    return subscription, int(position)


def _describe(attempt: Attempt) -> str:
    took = "" if attempt.duration is None else f" after {attempt.duration:.3f} s"
    began = output.as_cell(attempt.started_at)
    lines = [f"attempt {attempt.number}, {began}: {attempt.outcome}{took}"]
    lines += (attempt.traceback or attempt.error or "").rstrip().splitlines()
    return "\n".join(output.clean(line) for line in lines)
