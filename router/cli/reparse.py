"""`router events reparse`: stored notifications split again, after an adapter was corrected."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import click

from router.assembly import make_sources
from router.cli import bulk, output, selection
from router.cli.settings import load_host, opened_log, plugins_dir, with_config
from router.config import Config
from router.errors import UnknownName
from router.options import explain_unknown
from router.reparse_plan import Found, Plan
from router.reparsing import Reparsing
from router.sources import Source, version_of

WIDTH = 40  # of the line that tells of the progress


@click.command()
@click.option(
    "--source",
    required=True,
    metavar="NAME",
    help="Whose notifications; split as its table [sources.NAME] says.",
)
@click.option(
    "--since",
    type=selection.moment,
    metavar="TIME",
    help="Received at this time or later; RFC 3339, or 2h for two hours ago.",
)
@click.option("--until", type=selection.moment, metavar="TIME", help="Received before this time.")
@click.option(
    "--deliver", is_flag=True, help="Live subscriptions get what is found, too, not replays alone."
)
@plugins_dir
@bulk.dry_run_option
@bulk.yes_option
@output.json_option
@with_config
def reparse(
    found: Config,
    *,
    source: str,
    since: datetime | None,
    until: datetime | None,
    deliver: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Split stored notifications again, and append what the log does not know.

    Do so after an adapter was corrected, and the service runs with the correction. Exits 3 where
    the adapter could not split some of them.
    """
    made = _make_source(found, source)
    with opened_log(found) as log:
        reparsing = Reparsing(log, {source: made})
        with reparsing.planned(source, since=since, until=until, tell=_tell) as plan:
            _end_line()
            if dry_run:
                _print(plan.by_type, "would be appended", as_json=as_json, failed=plan.failed)
            else:
                done = _append(reparsing, plan, deliver=deliver, yes=yes)
                places = {"first": done.first, "last": done.last}
                _print(done.by_type, "appended", as_json=as_json, failed=plan.failed, **places)
                _note_next(done, deliver=deliver)
            if plan.failed:
                output.note(
                    f"The adapter could not split {plan.failed} notifications, which are left as "
                    f"they are. The first is {plan.failure}"
                )
                raise click.exceptions.Exit(3)


def _make_source(found: Config, name: str) -> Source:
    """Return the source as it is configured; of the others not even the secrets are read."""
    if name not in found.sources:
        reason = explain_unknown(name, found.sources)
        raise UnknownName(
            f"the source {name!r} {reason}. Its table [sources.{name}] in the settings says which "
            "adapter splits what it stored"
        )
    wanted = found.sources[name]
    host = load_host(found)
    for broken in host.broken:
        output.note(f"plugin {broken.name!r} cannot be used: {broken.reason}")
    [made] = make_sources(replace(found, sources={name: wanted}), host)
    version = version_of(host.adapters()[wanted.adapter])
    said = f"version {version}" if version else "which does not say its version"
    output.note(f"Splitting with the adapter {wanted.adapter}, {said}.")
    return made


def _append(reparsing: Reparsing, plan: Plan, *, deliver: bool, yes: bool) -> Found:
    if not plan.total:
        output.note(f"The log knows all events of the source {plan.source!r}.")
        return Found({})
    who = "live subscriptions and replays" if deliver else "replays alone"
    question = f"Append {plan.total} events of the source {plan.source!r}, for {who}?"
    bulk.require_consent(question, yes=yes)
    try:
        return reparsing.append(plan, by=bulk.find_actor(), deliver=deliver, tell=_tell)
    except KeyboardInterrupt:
        output.note("\nWhat was appended by now is in the log: run it again for the rest.")
        raise
    finally:
        _end_line()


def _print(by_type: Mapping[str, int], what: str, *, as_json: bool, **more: int | None) -> None:
    total = sum(by_type.values())
    if as_json:
        output.print_json({"total": total, "by_type": dict(by_type), **more})
        return
    output.print_text(f"{total} events {what}")
    output.print_table(("type", "events"), list(by_type.items()))


def _note_next(done: Found, *, deliver: bool) -> None:
    if done.first is not None and not deliver:
        output.note(
            "Live subscriptions pass over them. To hand them to one: "
            f"router replay start NAME --reparsed --from {done.first}"
        )


def _tell(what: str, count: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{f'{count} {what}':<{WIDTH}}", err=True, nl=False)


def _end_line() -> None:
    if sys.stderr.isatty():
        output.note("")
