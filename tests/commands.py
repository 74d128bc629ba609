"""Command lines as documents show them."""

from collections.abc import Sequence

import click

from router.cli import router as command


def require_command(words: Sequence[str]) -> None:
    """Fail unless ``words`` is a command line that the command line takes."""
    name, *rest = words
    assert name == "router"
    found: click.Command = command
    while isinstance(found, click.Group):
        if rest == ["--version"]:
            return
        name, *rest = rest
        found = found.commands[name]
    with found.make_context(name, list(rest)):
        pass
