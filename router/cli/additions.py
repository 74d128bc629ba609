"""The commands that plugins add: looked for when the router itself has none of that name."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import click

from router import config
from router.cli import output
from router.cli.settings import load_host
from router.errors import ConfigError
from router.host import Host, Plugin

Additions = Mapping[str, Sequence[Plugin]]  # by the command's name: who offers it

_FOUND = "router.additions"


class Commands(click.Group):
    """The router's own commands, and behind them those of the plugins that run.

    A plugin that is broken, or settings that are, cost nothing but its commands.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, the router's own first."""
        own = super().list_commands(ctx)
        added = {name for name, plugins in _find(ctx).items() if len(plugins) == 1}
        return [*own, *sorted(added - set(own))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None.

        Raises:
            UsageError: Several plugins offer it.
        """
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        plugins = _find(ctx).get(cmd_name, ())
        if len(plugins) > 1:
            raise click.UsageError(f"{_name_all(plugins)} each have a command {cmd_name!r}.", ctx)
        return plugins[0].declared.commands[cmd_name] if plugins else None


def find_additions(host: Host) -> dict[str, list[Plugin]]:
    """Return which of the plugins that run offer which command."""
    found: dict[str, list[Plugin]] = {}
    for plugin in host.running():
        for name in plugin.declared.commands:
            found.setdefault(name, []).append(plugin)
    return found


def find_collisions(host: Host, own: Mapping[str, object]) -> Iterator[Mapping[str, str]]:
    """Yield what is wrong with the names of commands: they are the router's ``own``, or taken."""
    for name, plugins in find_additions(host).items():
        if name in own:
            problem = f"its command {name!r} is never run, for the router has one of that name"
        elif len(plugins) > 1:
            problem = f"{_name_all(plugins)} each have a command {name!r}, so none of them is run"
        else:
            continue
        for plugin in plugins:
            yield {
                "name": plugin.name,
                "origin": plugin.origin,
                "problem": f"{problem}: give it another name",
            }


def _find(ctx: click.Context) -> Additions:
    if _FOUND not in ctx.meta:
        ctx.meta[_FOUND] = _load(ctx)
    found: Additions = ctx.meta[_FOUND]
    return found


def _load(ctx: click.Context) -> Additions:
    named = os.environ.get("ROUTER_CONFIG")
    try:
        settings = config.load(
            Path(named) if named else None, environ=os.environ, working=Path.cwd(), overrides={}
        )
    except ConfigError as error:
        output.note(f"The commands of plugins are left out: {error}")
        return {}
    ctx.obj = settings
    host = load_host(settings)
    if host.broken:
        names = ", ".join(sorted({broken.name for broken in host.broken}))
        output.note(f"Broken plugins, whose commands are left out: {names} (router plugins check)")
    return find_additions(host)


def _name_all(plugins: Sequence[Plugin]) -> str:
    return "the plugins " + " and ".join(repr(plugin.name) for plugin in plugins)
