"""The router's own commands: where each lives, and that it is loaded when it is first asked for."""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module

import click

PLACES: Mapping[str, str] = {
    "cloud": "cloud:group",
    "config": "config:config",
    "coreapp": "coreapp:group",
    "db": "db:db",
    "dead": "dead:dead",
    "demo": "demo:demo",
    "doctor": "doctor:doctor",
    "events": "events:events",
    "parse": "parse:parse",
    "plugins": "plugins:plugins",
    "rebuild": "rebuild:rebuild",
    "replay": "replay:replay",
    "send": "send:send",
    "serve": "serve:serve",
    "simulate": "simulate:simulate",
    "subscriptions": "subscriptions:subscriptions",
    "timeline": "timeline:timeline",
    "worker": "serve:worker",
    "workers": "workers:workers",
}


class OwnCommands(MutableMapping[str, click.Command]):
    """The commands by their names.

    One command needs a part of what all need, and a start is as quick as what it loads.

    Args:
        places: The module in this package and the name in it, by the name of the command.
    """

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._found: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        """Return a command."""
        if name not in self._found:
            module, _, attribute = self._places[name].partition(":")
            self._found[name] = getattr(import_module(f"router.cli.{module}"), attribute)
        return self._found[name]

    def __contains__(self, name: object) -> bool:
        """Whether there is such a command; loads none."""
        return name in self._places

    def __setitem__(self, name: str, command: click.Command) -> None:
        """Add a command."""
        self._places[name] = ""
        self._found[name] = command

    def __delitem__(self, name: str) -> None:
        """Take a command away."""
        del self._places[name]
        self._found.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)
