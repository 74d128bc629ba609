"""`router rebuild`: a plugin's tables are filled anew, then take the place of the old ones."""

import click

from router.cli import bulk, output
from router.cli.progress import conclude
from router.cli.replay import read_rate
from router.cli.settings import load_subscription, opened_log, plugins_dir, with_config
from router.config import Config
from router.rebuilds import find_tables, plan_rebuild
from router.replay import Replays


@click.command()
@click.argument("subscription")
@click.option("--rate", type=read_rate, metavar="N", help="At most so many events a second.")
@click.option("--reason", default="", metavar="TEXT", help="Why; handlers see it, too.")
@click.option("--partial", is_flag=True, help="Although old events were pruned, and are missed.")
@plugins_dir
@click.option("--wait", is_flag=True, help="Follow it to its end; exit 1 if it does not succeed.")
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@with_config
def rebuild(
    found: Config,
    *,
    subscription: str,
    rate: float | None,
    reason: str,
    partial: bool,
    wait: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Fill the tables of SUBSCRIPTION anew from history.

    Its plugin keeps them up to date meanwhile. When the new ones are complete they take the place
    of the old ones, all at once. `router replay show|pause|resume|cancel ID` is for rebuilds, too.
    """
    chosen = load_subscription(found, subscription)
    tables = find_tables(chosen)
    with opened_log(found) as log:
        replays = Replays(log)
        plan = plan_rebuild(replays, chosen, is_partial=partial)
        plan.require_allowed()
        if dry_run and as_json:
            by_type = dict(plan.by_type)
            output.print_json({"total": plan.total, "by_type": by_type, "tables": tables})
        elif dry_run:
            names = ", ".join(tables)
            output.print_text(f"{names} would be filled anew from {plan.total} events")
        if dry_run:
            return
        question = f"Fill {', '.join(tables)} anew from {plan.total} events and those that come?"
        bulk.require_consent(question, yes=yes)
        actor = bulk.find_actor()
        started = replays.start(plan, reason=reason, by=actor, rate=rate, rebuilds=tables)
        conclude(log, started, wait=wait, as_json=as_json)
