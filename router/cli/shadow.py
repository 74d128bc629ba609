"""`router replay start --shadow`: a plugin is tried on history, and nothing is sent or written."""

import asyncio
import functools
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from router.cli import output, selection
from router.cli.settings import find_subscription, load_host, opened_log
from router.cli.shadow_report import Report
from router.config import Config
from router.events import Replaying
from router.filters import Filter
from router.hookspecs import ReplayPolicy
from router.host import Host
from router.loading import Candidate, import_file, load
from router.log import EventLog
from router.replay import Replays
from router.replay_plan import Plan
from router.shadow import Version, opened

T = TypeVar("T")

NUMBER = 0  # what handlers see as the replay's id: there is none on record
DIFFERENT = 3  # the exit code where two versions do not do the same
TELL_SECONDS = 0.5
_ELSE = ("include_effects", "rate", "concurrency", "wait", "dry_run")


class Wanted(msgspec.Struct, frozen=True):
    """What is tried.

    Attributes:
        file: The plugin, as a single file; None is the one that is loaded.
        is_compared: Whether it is held against the one that is loaded.
    """

    file: Path | None
    is_compared: bool


class Span(msgspec.Struct, frozen=True):
    """On which events: from ``first`` to below ``end``, those that match, or are named."""

    first: int
    end: int | None
    matching: Filter
    events: tuple[str, ...]


def with_shadow(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options of a trial; it gets them as ``shadow``, None without any."""

    @click.option(
        "--shadow", is_flag=True, help="Only show what it would do: nothing is sent or written."
    )
    @click.option(
        "--plugin",
        "file",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="With --shadow: this version of the plugin, instead of the one that is loaded.",
    )
    @click.option(
        "--against",
        type=click.Choice(["live"]),
        help="With --plugin: show where it differs from the one that is loaded.",
    )
    @functools.wraps(command)
    def run(*args: object, shadow: bool, file: Path | None, against: str | None, **kw: object) -> T:
        if not shadow and (file or against):
            raise click.UsageError("--plugin and --against are for --shadow alone.")
        if against and file is None:
            raise click.UsageError("--against compares two versions: name the other with --plugin.")
        if shadow and (others := [name for name in _ELSE if kw[name]]):
            names = ", ".join(f"--{name.replace('_', '-')}" for name in others)
            raise click.UsageError(f"--shadow plans nothing, and does not go with {names}.")
        wanted = Wanted(file, is_compared=against is not None) if shadow else None
        return command(*args, shadow=wanted, **kw)

    return run


def try_out(
    found: Config, name: str, wanted: Wanted, span: Span, *, reason: str, as_json: bool
) -> None:
    """Have a plugin handle history in shadow, and print what it would have done.

    Raises:
        click.exceptions.Exit: Two versions were compared, and differ.
        PluginError: A version does not declare by what it calls out, or cannot be loaded.
        Refused: A handler refuses replays, or there is none for what was chosen.
    """
    versions = _load(found, name, wanted)
    for version in versions:
        version.require_declared()
    with opened_log(found, writes=False) as log:
        plan = Replays(log).plan(
            name,
            first=span.first,
            end=span.end,
            matching=selection.choose(log, span.matching, span.events),
            include_effects=True,
            policies=_merge(versions),
        )
        plan.require_allowed()
        report = Report(plan, origin=versions[0].plugin.origin, is_compared=wanted.is_compared)
        asyncio.run(_run(versions, plan, report, log=log, replaying=Replaying(NUMBER, reason)))
    report.print(as_json=as_json)
    if report.differences:
        raise click.exceptions.Exit(DIFFERENT)


def _load(found: Config, name: str, wanted: Wanted) -> list[Version]:
    """Return what is tried, and behind it what it is held against, if anything."""
    versions = []
    if wanted.file is not None:
        versions.append(_load_file(found, name, wanted.file))
    if wanted.file is None or wanted.is_compared:
        versions.append(_find(load_host(found), found, name))
    return versions


def _load_file(found: Config, name: str, file: Path) -> Version:
    """Return the plugin in a file under the name, and with the settings, of the one in service."""
    path = file.resolve()
    module = load(Candidate(name, f"file {path}", lambda: import_file(path)))
    vars(module)["plugin_name"] = name
    host = Host.load(plugins=[module], configured=found.plugin_settings, entry_points=())
    version = _find(host, found, name)
    plugin = msgspec.structs.replace(version.plugin, origin=f"file {path}")
    return msgspec.structs.replace(version, plugin=plugin)


def _find(host: Host, found: Config, name: str) -> Version:
    host.require_sound()
    options = {key: value for key, value in found.subscriptions.items() if key == name}
    subscription = find_subscription(host, options, name)
    plugin = next(one for one in host.subscribers() if one.name == name)
    return Version(plugin, subscription)


def _merge(versions: list[Version]) -> dict[str, ReplayPolicy]:
    """Return the policy for each type that any version handles: one that refuses is heeded."""
    merged: dict[str, ReplayPolicy] = {}
    for version in versions:
        for type_, policy in version.subscription.policies.items():
            if merged.get(type_) != "refuse":
                merged[type_] = policy
    return merged


async def _run(
    versions: list[Version], plan: Plan, report: Report, *, log: EventLog, replaying: Replaying
) -> None:
    matching = msgspec.structs.replace(plan.matching, types=plan.types)
    told = time.monotonic()
    async with AsyncExitStack() as stack:
        shadows = [
            await stack.enter_async_context(opened(one, log=log, replaying=replaying))
            for one in versions
        ]
        for event in log.read(after=plan.first - 1, until=plan.end - 1, matching=matching):
            report.add(event, [await one.handle(event) for one in shadows])
            if time.monotonic() - told >= TELL_SECONDS:
                told = time.monotonic()
                _tell(report.total, plan.total)
    _tell(report.total, plan.total, is_last=True)


def _tell(done: int, total: int, *, is_last: bool = False) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{done} of {total} events", err=True, nl=is_last)
    elif is_last:
        output.note(f"{done} of {total} events")
