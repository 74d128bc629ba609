"""`router subscriptions pause`, `resume`, `skip`, `rename`, `relane` and `forget`."""

import time
from collections.abc import Callable, Mapping

import click

from router.backlog import Forgetting, Skipping
from router.cli import bulk, output, selection
from router.cli.settings import with_log
from router.control import HEAD, Control
from router.errors import RouterError
from router.events import SHARDS
from router.log import EventLog

PATIENCE = 60.0  # seconds that --wait lasts
POLL = 0.1  # seconds between two looks

reason_option = click.option("--reason", default="", metavar="TEXT", help="Why, for the record.")


@click.command()
@click.argument("name")
@reason_option
@click.option("--wait", is_flag=True, help="Return when no worker runs it any more.")
@with_log
def pause(log: EventLog, *, name: str, reason: str, wait: bool) -> None:
    """Hand no more events to NAME; they wait in the log."""
    control = Control(log.store)
    is_new = control.pause(name, actor=bulk.find_actor(), reason=reason)
    if wait:
        wait_for_rest(control, name, clock=time.monotonic, sleep=time.sleep)
    output.print_text(f"{name} is paused" if is_new else f"{name} was paused already")
    if not control.is_at_rest(name):
        output.note("Its worker ends the calls under way first; --wait waits for that.")


@click.command()
@click.argument("name")
@reason_option
@with_log
def resume(log: EventLog, *, name: str, reason: str) -> None:
    """Let NAME go on where it was paused."""
    is_new = Control(log.store).resume(name, actor=bulk.find_actor(), reason=reason)
    output.print_text(f"{name} goes on" if is_new else f"{name} was not paused")


@click.command()
@click.argument("name")
@click.option(
    "--to", type=selection.Position, metavar="POSITION", help="The last event that is skipped."
)
@click.option("--to-head", is_flag=True, help="Skip all events there are now.")
@reason_option
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@with_log
def skip(
    log: EventLog,
    *,
    name: str,
    to: int | None,
    to_head: bool,
    reason: str,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Let NAME go on behind a position without the events before it.

    Retries up to there are dropped, too; dead letters stay.
    """
    if (to is None) is not to_head:
        raise click.UsageError("Say how far: either --to POSITION or --to-head.")
    control = Control(log.store)
    plan = control.plan_skip(name, to=HEAD if to is None else to)
    if dry_run:
        _print_skipping(plan, "would be skipped", as_json=as_json)
        return
    if plan.is_empty:
        output.note(f"Nothing to do: {name} has come to position {plan.checkpoint} already.")
    else:
        bulk.require_consent(
            f"Skip {plan.total} events and drop {plan.retries} retries of {name!r}, up to position "
            f"{plan.position}?",
            yes=yes,
        )
        plan = control.skip(name, to=plan.position, actor=bulk.find_actor(), reason=reason)
    _print_skipping(plan, "skipped", as_json=as_json)
    if plan.is_pending:
        output.note("Its worker carries it out in a moment.")


@click.command()
@click.argument("old")
@click.argument("new")
@reason_option
@with_log
def rename(log: EventLog, *, old: str, new: str, reason: str) -> None:
    """Give all that is on record of OLD to the plugin NEW."""
    Control(log.store).rename(old, new, actor=bulk.find_actor(), reason=reason)
    output.print_text(f"{old} is {new} now")


@click.command()
@click.argument("name")
@click.argument("lanes", type=click.IntRange(1, SHARDS))
@reason_option
@with_log
def relane(log: EventLog, *, name: str, lanes: int, reason: str) -> None:
    """Cut NAME into so many LANES, which workers share."""
    before = Control(log.store).relane(name, lanes, actor=bulk.find_actor(), reason=reason)
    is_new = before != lanes
    had = f"{name} has {lanes} lanes"
    output.print_text(f"{had} now, {before} before" if is_new else f"{had} already")


@click.command()
@click.argument("name")
@reason_option
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@with_log
def forget(
    log: EventLog, *, name: str, reason: str, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Delete all that is on record of NAME; the events stay."""
    control = Control(log.store)
    plan = control.plan_forget(name)
    if dry_run:
        _print_forgetting(plan, "would be forgotten", as_json=as_json)
        return
    control.require_rest(name)
    bulk.require_consent(
        f"Forget {name!r}, which is {plan.lag} positions behind, with {plan.dead} dead letters, "
        f"{plan.retries} retries and {plan.replays} replays that have not ended?",
        yes=yes,
    )
    gone = control.forget(name, actor=bulk.find_actor(), reason=reason)
    _print_forgetting(gone, "forgotten", as_json=as_json)
    output.note("It is born anew if a worker starts with its plugin.")


COMMANDS = (pause, resume, skip, rename, relane, forget)


def wait_for_rest(
    control: Control,
    name: str,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None],
) -> None:
    """Return when no worker runs the subscription any more.

    Raises:
        RouterError: One still does after `PATIENCE`.
    """
    end = clock() + PATIENCE
    while not control.is_at_rest(name):
        if clock() >= end:
            raise RouterError(
                f"{name!r} is paused, but a call still goes on after {PATIENCE:g} s: see "
                "`router workers list`, or wait again"
            )
        sleep(POLL)


def _print_skipping(plan: Skipping, what: str, *, as_json: bool) -> None:
    if as_json:
        counts = {"total": plan.total, "by_type": dict(plan.by_type), "retries": plan.retries}
        output.print_json({**counts, "position": plan.position})
        return
    output.print_text(
        f"{plan.total} events and {plan.retries} retries of {plan.subscription} {what}, up to "
        f"position {plan.position}"
    )
    _print_types(plan.by_type)


def _print_forgetting(plan: Forgetting, what: str, *, as_json: bool) -> None:
    counts = {"dead": plan.dead, "retries": plan.retries, "replays": plan.replays, "lag": plan.lag}
    if as_json:
        output.print_json({"total": plan.total, "by_type": dict(plan.by_type), **counts})
        return
    output.print_text(
        f"{plan.subscription} {what}: {plan.dead} dead letters, {plan.retries} retries, "
        f"{plan.replays} replays that had not ended, {plan.lag} positions of lag"
    )


def _print_types(by_type: Mapping[str, int]) -> None:
    output.print_table(("type", "events"), list(by_type.items()))
