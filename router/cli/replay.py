"""`router replay`: history handed to one subscription again, planned, started and followed."""

import math
import time

import click

from router.cli import bulk, output, selection
from router.cli.progress import follow
from router.cli.settings import with_log
from router.filters import Filter
from router.log import EventLog
from router.replay import Plan, Replay, Replays

COLUMNS = ("id", "subscription", "state", "from", "to", "total", "done", "failed", "rate")


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
@click.option("--rate", type=read_rate, metavar="N", help="At most so many events a second.")
@click.option("--reason", default="", metavar="TEXT", help="Why; handlers see it, too.")
@click.option("--include-effects", is_flag=True, help="Call handlers that replays skip, too.")
@click.option("--wait", is_flag=True, help="Follow it to its end; exit 1 if anything failed.")
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@selection.with_filter
@with_log
def start(
    log: EventLog,
    *,
    subscription: str,
    first: int,
    end: int | None,
    matching: Filter,
    rate: float | None,
    reason: str,
    include_effects: bool,
    wait: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Replay events to SUBSCRIPTION.

    A worker carries it out, and it survives restarts.
    """
    replays = Replays(log)
    plan = replays.plan(
        subscription,
        first=max(first, 1),
        end=end,
        matching=matching,
        include_effects=include_effects,
    )
    if dry_run:
        _print_plan(plan, as_json=as_json)
        plan.require_allowed()
        return
    plan.require_allowed()
    bulk.require_consent(f"Replay {plan.total} events to {subscription!r}?", yes=yes)
    started = replays.start(plan, reason=reason, by=bulk.find_actor(), rate=rate)
    if not as_json:
        output.print_text(str(started.id))
    if wait:
        ended = follow(replays, started, sleep=time.sleep)
        if as_json:
            output.print_json(ended.as_dict())
        if ended.failed or ended.state != "done":
            raise click.exceptions.Exit(1)
    elif as_json:
        output.print_json(started.as_dict())
    else:
        output.note(f"Replay {started.id} is planned: router replay show {started.id}")


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
@click.argument("number", metavar="ID", type=click.IntRange(1, selection.LAST))
@output.json_option
@with_log
def show(log: EventLog, *, number: int, as_json: bool) -> None:
    """Show one replay."""
    found = Replays(log).find(number)
    if as_json:
        output.print_json(found.as_dict())
    else:
        output.print_fields({**found.as_dict(), **_describe(found)})


def _describe(found: Replay) -> dict[str, object]:
    return {"reason": found.reason, "filter": found.matching.as_json()}


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    by_policy = {policy: plan.count(policy) for policy in ("allow", "skip", "refuse")}
    if as_json:
        by_type = dict(plan.by_type)
        total = sum(by_type.values())
        output.print_json({"total": total, "by_type": by_type, "by_policy": by_policy})
        return
    output.print_text(
        f"{plan.total} events from {plan.first} to before {plan.end} would be replayed"
    )
    rows = [(type_, count, plan.policies[type_]) for type_, count in sorted(plan.by_type.items())]
    output.print_table(("type", "events", "policy"), rows)
