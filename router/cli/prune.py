"""`router db prune`: old events are counted, asked about and deleted."""

import sys
from collections.abc import Mapping
from datetime import timedelta

import click

from router.cli import bulk, output, selection
from router.cli.settings import with_log
from router.events import as_rfc3339, from_micros
from router.log import EventLog
from router.retention import Retention


@click.command()
@click.option(
    "--older-than",
    type=selection.duration,
    required=True,
    metavar="DURATION",
    help="Of events received longer ago than this, such as 90d.",
)
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@with_log
def prune(log: EventLog, *, older_than: float, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete old events that no subscription needs any more."""
    retention = Retention(log.store)
    plan = retention.plan(from_micros(log.store.now()) - timedelta(seconds=older_than))
    before = as_rfc3339(plan.before)
    if dry_run:
        _print_counts(plan.by_type, "would be deleted", as_json=as_json)
        return
    if plan.total:
        bulk.require_consent(f"Delete {plan.total} events received before {before}?", yes=yes)
        gone = retention.prune(plan, by=bulk.find_actor(), on_progress=_tell)
        if sys.stderr.isatty():
            output.note("")  # ends the line that tells of the progress
    else:
        gone = {}
        output.note(f"No event received before {before} can be deleted.")
    _print_counts(gone, "deleted", as_json=as_json)


def _print_counts(by_type: Mapping[str, int], what: str, *, as_json: bool) -> None:
    total = sum(by_type.values())
    if as_json:
        output.print_json({"total": total, "by_type": dict(by_type)})
        return
    output.print_text(f"{total} events {what}")
    output.print_table(("type", "events"), list(by_type.items()))


def _tell(count: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{count} events deleted", err=True, nl=False)
