"""`router plugins`: what is installed, what it handles, and what is wrong with it."""

from collections.abc import Iterator, Mapping

import click

from router.cli import output
from router.cli.additions import find_collisions
from router.cli.plugins_new import new
from router.cli.settings import load_host, plugins_dir, with_config
from router.config import Config
from router.host import Host, Plugin
from router.loading import BrokenPlugin
from router.options import explain_unknown

COLUMNS = ("name", "state", "version", "events", "hooks", "origin", "reason")


@click.group()
def plugins() -> None:
    """List and check the plugins, or begin a new one."""


@plugins.command("list")
@output.json_option
@plugins_dir
@with_config
def list_(found: Config, *, as_json: bool) -> None:
    """List the plugins, the broken ones with the reason."""
    rows = describe(load_host(found))
    if as_json:
        output.print_json(rows)
        return
    shown = [{**row, "events": row["types"]} for row in rows]
    output.print_table(COLUMNS, [[row[name] for name in COLUMNS] for row in shown])
    if not rows:
        output.note("There are no plugins.")


@plugins.command()
@output.json_option
@plugins_dir
@with_config
def check(found: Config, *, as_json: bool) -> None:
    """Say what is wrong with the plugins, and exit 3.

    A plugin is broken, the settings speak of one that is not loaded, or a command has a name that
    is taken.
    """
    host = load_host(found)
    command = click.get_current_context().find_root().command
    own = command.commands if isinstance(command, click.Group) else {}
    problems = [*find_problems(host, found), *find_collisions(host, own)]
    if as_json:
        output.print_json(problems)
    elif problems:
        output.print_text("\n".join(_as_line(problem) for problem in problems))
    else:
        output.note(f"{len(host.plugins)} plugins are loaded and nothing is wrong with them.")
    if problems:
        raise click.exceptions.Exit(3)


plugins.add_command(new)


def describe(host: Host) -> list[dict[str, object]]:
    """Return what there is to know about each plugin, in order of name.

    Its state is ``ok``; ``available`` where it comes with the router and was not asked for, so that
    only its adapters are there; ``off`` by configuration; or ``broken``.
    """
    rows = [
        _describe_sound(plugin, is_turned_off=plugin.name in host.disabled)
        for plugin in host.plugins
    ]
    rows += [_describe_broken(broken) for broken in host.broken]
    shown = {row["name"] for row in rows}
    rows += [_describe_disabled(name) for name in host.disabled if name not in shown]
    return sorted(rows, key=lambda row: str(row["name"]))


def find_problems(host: Host, config: Config) -> Iterator[Mapping[str, str]]:
    """Yield what is wrong with each plugin, and with what the settings say about plugins."""
    for broken in host.broken:
        yield {"name": broken.name, "origin": broken.origin, "problem": broken.reason}
    names = [plugin.name for plugin in host.plugins]
    for kind, tables in (("subscriptions", config.subscriptions), ("plugins", config.plugins)):
        for name in host.unused(tables):
            reason = f"no plugin of that name is loaded: it {explain_unknown(name, names)}"
            if name in names:
                reason = f"the plugin does not run: it comes with the router, add [plugins.{name}]"
            yield {"name": name, "origin": f"[{kind}.{name}]", "problem": reason}
    for variable in host.unused_variables():
        reason = "it is about no plugin that is loaded"
        yield {"name": variable, "origin": "environment", "problem": reason}


def _describe_sound(plugin: Plugin, *, is_turned_off: bool) -> dict[str, object]:
    return {
        "name": plugin.name,
        "state": "ok" if plugin.is_enabled else "off" if is_turned_off else "available",
        "enabled": plugin.is_enabled,
        "version": plugin.version or None,
        "hooks": sorted(plugin.hooks),
        "types": list(plugin.handlers),
        "origin": plugin.origin,
        "reason": None,
    }


def _describe_broken(broken: BrokenPlugin) -> dict[str, object]:
    row = _describe_disabled(broken.name)
    return row | {"state": "broken", "origin": broken.origin, "reason": broken.reason}


def _describe_disabled(name: str) -> dict[str, object]:
    return {
        "name": name,
        "state": "off",
        "enabled": False,
        "version": None,
        "hooks": [],
        "types": [],
        "origin": None,
        "reason": None,
    }


def _as_line(problem: Mapping[str, str]) -> str:
    return output.clean("{name}: {problem} [{origin}]".format(**problem))
