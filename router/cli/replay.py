"""`router replay`: history handed to one subscription again, planned, started and followed."""

import math
import time
from collections.abc import Mapping

import click

from router.cli import bulk, output, replay_steering, selection
from router.cli.progress import conclude, follow, require_success
from router.cli.settings import load_subscription, opened_log, plugins_dir, with_config, with_log
from router.cli.shadow import Span, Wanted, try_out, with_shadow
from router.config import Config
from router.filters import Filter
from router.log import EventLog
from router.replay import Replays
from router.replay_plan import Plan
from router.replay_record import Replay

COLUMNS = ("id", "subscription", "state", "from", "to", "total", "done", "failed", "rate")
OUTCOMES = ("done", "failed", "skipped")


def read_rate(text: str) -> float:
    """Read how many events a second."""
    try:
        rate = float(text)
    except ValueError:
        rate = 0.0
    if not (rate > 0 and math.isfinite(rate)):
        raise click.BadParameter(f"{text!r} is no number of events a second, more than 0")
    return rate


@click.group()
def replay() -> None:
    """Hand a range of history to one subscription again."""


for command in replay_steering.COMMANDS:
    replay.add_command(command)


@replay.command()
@click.argument("subscription")
@click.option(
    "--from",
    "first",
    type=selection.Position,
    default=1,
    metavar="POSITION",
    help="The first position; default: the log's first.",
)
@click.option(
    "--to",
    "end",
    type=selection.Position,
    metavar="POSITION",
    help="The first position that is left out again; default: behind the log's last.",
)
@click.option(
    "--event",
    "events",
    multiple=True,
    metavar="ID",
    help="This event alone, by id or position; may be given several times.",
)
@click.option("--rate", type=read_rate, metavar="N", help="At most so many events a second.")
@click.option(
    "--concurrency",
    type=click.IntRange(1, 10_000),
    metavar="N",
    help="So many calls at a time; default: as the subscription's options have it.",
)
@click.option("--reason", default="", metavar="TEXT", help="Why; handlers see it, too.")
@click.option("--include-effects", is_flag=True, help="Call handlers that replays skip, too.")
@click.option("--new", is_flag=True, help="To a plugin that has not run yet: it is loaded to look.")
@plugins_dir
@with_shadow
@click.option("--wait", is_flag=True, help="Follow it to its end; exit 1 if anything failed.")
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@selection.with_filter
@with_config
def start(
    found: Config,
    *,
    subscription: str,
    first: int,
    end: int | None,
    events: tuple[str, ...],
    matching: Filter,
    rate: float | None,
    concurrency: int | None,
    reason: str,
    include_effects: bool,
    new: bool,
    shadow: Wanted | None,
    wait: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Replay events to SUBSCRIPTION.

    A worker carries it out, and it survives restarts.
    """
    if end is not None and end < first:
        raise click.UsageError(f"A range from {first} to before {end} holds nothing.")
    if shadow is not None:
        span = Span(first=max(first, 1), end=end, matching=matching, events=events)
        try_out(found, subscription, shadow, span, reason=reason, as_json=as_json)
        return
    with opened_log(found) as log:
        replays = Replays(log)
        plan = replays.plan(
            subscription,
            first=max(first, 1),
            end=end,
            matching=selection.choose(log, matching, events),
            include_effects=include_effects,
            policies=load_subscription(found, subscription).policies if new else None,
        )
        if dry_run:
            _print_plan(plan, as_json=as_json)
        plan.require_allowed()
        if dry_run:
            return
        _require_consent(plan, yes=yes)
        by = bulk.find_actor()
        started = replays.start(plan, reason=reason, by=by, rate=rate, concurrency=concurrency)
        conclude(log, started, wait=wait, as_json=as_json)


@replay.command("list")
@output.json_option
@selection.limit_option
@selection.position_cursor_option
@with_log
def list_(log: EventLog, *, cursor: int | None, limit: int, as_json: bool) -> None:
    """List the replays, the newest first."""
    found, has_more = selection.take(Replays(log).list(limit=limit + 1, before=cursor), limit)
    next_cursor = str(found[-1].id) if has_more else None
    rows = [one.as_dict() for one in found]
    if as_json:
        output.print_json(rows, next_cursor=next_cursor)
        return
    output.print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    output.note_more(next_cursor)
    if not found:
        output.note("There are no replays.")


@replay.command()
@replay_steering.number_argument
@click.option("--follow", "is_followed", is_flag=True, help="First wait for its end, as --wait.")
@output.json_option
@with_log
def show(log: EventLog, *, number: int, is_followed: bool, as_json: bool) -> None:
    """Show one replay, and what came of its events by type."""
    found = Replays(log).find(number)
    if is_followed:
        found = follow(log, found, sleep=time.sleep, clock=time.monotonic)
    if as_json:
        output.print_json(found.as_details())
    else:
        _print_details(found)
    if is_followed:
        require_success(found)


def _require_consent(plan: Plan, *, yes: bool) -> None:
    for number in plan.overlapping:
        output.note(f"Replay {number} of {plan.subscription} has not ended and shares events.")
    bulk.require_consent(f"Replay {plan.total} events to {plan.subscription!r}?", yes=yes)
    if plan.effects:
        bulk.require_consent(
            f"{plan.effects} of them are for handlers that may have effects outside the database, "
            "such as messages that are sent again. Call these handlers?",
            yes=yes,
        )


def _print_details(found: Replay) -> None:
    fields = found.as_details()
    by_type = found.by_type
    del fields["by_type"]
    filters = found.matching.as_json()
    output.print_fields({**fields, "filter": filters})
    rows = [[type_, *(by_type[type_].get(one, 0) for one in OUTCOMES)] for type_ in sorted(by_type)]
    if rows:
        output.print_text("")
        output.print_table(("type", *OUTCOMES), rows)
    if found.failed:
        output.note(f"To replay what failed: router dead redrive --replay {found.id} --all")


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    by_policy = {policy: plan.count(policy) for policy in ("allow", "skip", "refuse")}
    if as_json:
        by_type: Mapping[str, int] = dict(plan.by_type)
        total = sum(by_type.values())
        output.print_json({"total": total, "by_type": by_type, "by_policy": by_policy})
        return
    output.print_text(
        f"{plan.total} events from {plan.first} to before {plan.end} would be replayed"
    )
    rows = [(type_, count, plan.policies[type_]) for type_, count in sorted(plan.by_type.items())]
    output.print_table(("type", "events", "policy"), rows)
    if by_policy["skip"]:
        output.note(
            f"{by_policy['skip']} events would be skipped: their handlers may have effects outside "
            "the database. --include-effects calls them."
        )
    if plan.effects:
        output.note(f"{plan.effects} of the events may have effects outside the database.")
