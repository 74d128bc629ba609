"""`router dead`: deliveries that were given up, why, and what becomes of them."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import click

from router.claims import LIVE
from router.cli import bulk, output, selection
from router.cli.dead_options import replay_option, with_choice, with_dead_filter
from router.cli.settings import with_log
from router.dead import DeadLetters
from router.filters import DeadFilter
from router.letters import Attempt, Counts
from router.log import EventLog

COLUMNS = ("subscription", "position", "type", "subject", "attempts", "parked_at", "error")
GROUP_COLUMNS = ("count", "subscription", "first_parked_at", "last_parked_at", "position", "error")
AFTER_REDRIVE = "No worker runs them now: the next one that does calls the handlers."


@click.group()
def dead() -> None:
    """Look at the dead letters, send them again, or strike them off."""


@dead.command("list")
@click.option("--by-error", is_flag=True, help="Count them by subscription and error.")
@with_dead_filter
@output.json_option
@selection.limit_option
@selection.cursor_option
@with_log
def list_(
    log: EventLog,
    *,
    matching: DeadFilter,
    by_error: bool,
    cursor: str | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the dead letters by position, or their errors by number."""
    letters = DeadLetters(log.store)
    if by_error:
        _list_groups(letters, matching, cursor=cursor, limit=limit, as_json=as_json)
        return
    found = letters.list(matching, limit=limit + 1, after=_read_cursor(cursor))
    shown, has_more = selection.take(found, limit)
    next_cursor = f"{shown[-1].position}:{shown[-1].subscription}" if has_more else None
    if as_json:
        output.print_json([one.as_dict() for one in shown], next_cursor=next_cursor)
        return
    _print_rows(COLUMNS, [one.as_dict() for one in shown])
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


@dead.command()
@with_choice
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@with_log
def redrive(
    log: EventLog, *, matching: DeadFilter, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Send dead letters again, now and with their retries counted anew.

    Those of live delivery, or of one replay. What came later for the same subject is not sent
    again.
    """
    letters = DeadLetters(log.store)
    change = Change("redriven", "Redrive {}?", letters.redrive, AFTER_REDRIVE)
    _carry_out(letters, matching, change, dry_run=dry_run, yes=yes, as_json=as_json)


@dead.command()
@with_choice
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@with_log
def discard(
    log: EventLog, *, matching: DeadFilter, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Strike dead letters off for good; their events stay in the log.

    Those of live delivery, or of one replay.
    """
    letters = DeadLetters(log.store)
    change = Change("discarded", "Discard {} for good?", letters.discard, "It is done.")
    _carry_out(letters, matching, change, dry_run=dry_run, yes=yes, as_json=as_json)


class Change(NamedTuple):
    """What becomes of dead letters.

    Attributes:
        done: What they are then.
        question: Asked before; takes their number.
        make: Makes it.
        otherwise: What a person is told where no worker has still something to do.
    """

    done: str
    question: str
    make: Callable[..., Counts]
    otherwise: str


def _carry_out(
    letters: DeadLetters,
    matching: DeadFilter,
    change: Change,
    *,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    if not dry_run:
        letters.catch_up(run=matching.run)  # else what is held for a gone owner would not be found
    counts = letters.count(matching)
    if dry_run or not counts.total:
        what = f"would be {change.done}" if dry_run else change.done
        _print_counts(counts, what, as_json=as_json)
        return
    bulk.require_consent(change.question.format(_name(counts)), yes=yes)
    made = change.make(matching, actor=bulk.find_actor())
    _print_counts(made, change.done, as_json=as_json)
    _tell_when(made, change.otherwise)


def _list_groups(
    letters: DeadLetters, matching: DeadFilter, *, cursor: str | None, limit: int, as_json: bool
) -> None:
    offset = _read_number(cursor or "0", cursor)
    found = letters.groups(matching, limit=limit + 1, offset=offset)
    shown, has_more = selection.take(found, limit)
    next_cursor = str(offset + limit) if has_more else None
    if as_json:
        output.print_json([one.as_dict() for one in shown], next_cursor=next_cursor)
        return
    _print_rows(GROUP_COLUMNS, [one.as_dict() for one in shown])
    output.note_more(next_cursor)
    if not shown:
        output.note("There are no such dead letters.")


def _print_rows(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> None:
    """Print a table whose last column, the error, is cut to its first line."""
    cells = [[*(row[name] for name in columns[:-1]), _first_line(row)] for row in rows]
    output.print_table([name.replace("_", " ") for name in columns], cells)


def _first_line(row: Mapping[str, object]) -> str:
    return output.first_line(str(row["error"]))


def _print_counts(counts: Counts, what: str, *, as_json: bool) -> None:
    if not counts.total:
        output.note("There are no such dead letters.")
    if as_json:
        output.print_json(counts.as_dict())
        return
    output.print_text(f"{_name(counts)} {what}")
    output.print_table(("type", "dead letters"), list(counts.by_type.items()))


def _name(counts: Counts) -> str:
    return "1 dead letter" if counts.total == 1 else f"{counts.total} dead letters"


def _tell_when(counts: Counts, otherwise: str) -> None:
    """Tell a person whether a worker has still something to do."""
    if counts.total:
        later = "The workers that run their subscriptions carry it out within about a second."
        output.note(otherwise if counts.is_carried_out else later)


def _read_cursor(cursor: str | None) -> tuple[str, int]:
    position, _, subscription = (cursor or "0:").partition(":")
    return subscription, _read_number(position, cursor)


def _read_number(text: str, cursor: str | None) -> int:
    if not (text.isdecimal() and int(text) <= selection.LAST):
        raise click.BadParameter(f"{cursor!r} is no cursor of this list", param_hint="--cursor")
    return int(text)


def _describe(attempt: Attempt) -> str:
    took = "" if attempt.duration is None else f" after {attempt.duration:.3f} s"
    began = output.as_cell(attempt.started_at)
    lines = [f"attempt {attempt.number}, {began}: {attempt.outcome}{took}"]
    lines += (attempt.traceback or attempt.error or "").rstrip().splitlines()
    return "\n".join(output.clean(line) for line in lines)
