"""`router replay pause`, `resume` and `cancel`."""

import click

from router.cli import bulk, output, selection
from router.cli.settings import with_log
from router.log import EventLog
from router.replay import Replays

number_argument = click.argument("number", metavar="ID", type=click.IntRange(1, selection.LAST))
reason_option = click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")


@click.command()
@number_argument
@reason_option
@with_log
def pause(log: EventLog, *, number: int, reason: str) -> None:
    """Hand out no more events of a replay until it is resumed."""
    is_new = Replays(log).pause(number, actor=bulk.find_actor(), reason=reason)
    output.print_text(f"replay {number} {'is paused' if is_new else 'was paused already'}")


@click.command()
@number_argument
@reason_option
@with_log
def resume(log: EventLog, *, number: int, reason: str) -> None:
    """Let a replay go on where it was paused."""
    is_new = Replays(log).resume(number, actor=bulk.find_actor(), reason=reason)
    output.print_text(f"replay {number} {'goes on' if is_new else 'was not paused'}")


@click.command()
@number_argument
@reason_option
@with_log
def cancel(log: EventLog, *, number: int, reason: str) -> None:
    """End a replay for good where it stands; retries are given up."""
    replays = Replays(log)
    replays.cancel(number, actor=bulk.find_actor(), reason=reason)
    found = replays.find(number)
    output.print_text(f"replay {number} is cancelled after {found.done} of {found.total} events")
    output.note("Calls under way end as ever, and still count.")


COMMANDS = (pause, resume, cancel)
