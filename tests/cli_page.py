"""The page of commands, written from click's tree: `python -m tests.cli_page` prints it."""

import inspect
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from router.cli import router

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
AS_IT_IS = "\b"  # before a paragraph of help, for click: its lines are left alone
TOP = """# Commands

All commands of `router`, with their options, which come after the command. `-h` or `--help` says
the same at the command line. Data goes to stdout and all else to stderr; commands that read take
`--json`. The exit code is 0 if all is well, 1 for a failure or a name that is unknown, 2 for
words that make no command, and 3 for what ran and found a problem. Where a variable is named, it
stands for the option; the option goes before it. Plugins may add commands of their own. This page
is written from the code of the commands.
"""


def find_commands(commands: Mapping[str, click.Command]) -> Iterator[click.Context]:
    """Yield each command that can be called, in order of its name, as the context of its call."""
    root = click.Context(click.Group("router"), info_name="router")
    yield from _descend(commands, root)


def render() -> str:
    """Return the page."""
    commands = dict(router.commands)
    found = list(find_commands(commands))
    return "\n".join([TOP, *("\n".join(_describe(context)) for context in found)])


def _descend(
    commands: Mapping[str, click.Command], above: click.Context
) -> Iterator[click.Context]:
    for name, command in sorted(commands.items()):
        context = click.Context(command, info_name=name, parent=above)
        if isinstance(command, click.Group):
            yield from _descend(command.commands, context)
        elif not command.hidden:
            yield context


def _describe(context: click.Context) -> Iterator[str]:
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield f"## {context.command_path}\n"
    yield f"```text\n{usage}\n```\n"
    yield from map(_print_paragraph, inspect.cleandoc(command.help or "").split("\n\n"))
    told = [option for option in command.params if isinstance(option, click.Option)]
    options = list(filter(None, (_describe_option(option, context) for option in told)))
    if options:
        yield "\n".join(options) + "\n"


def _print_paragraph(text: str) -> str:
    """Return a paragraph of help; lines that click is to leave as they are become a block."""
    if text.startswith(AS_IT_IS):
        return f"```text\n{text.removeprefix(AS_IT_IS).strip()}\n```\n"
    return " ".join(text.split()) + "\n"


def _describe_option(option: click.Option, context: click.Context) -> str:
    record = option.get_help_record(context)
    if record is None:
        return ""
    names, told = record
    told = re.sub(r"\s+", " ", told.replace("\\", "\\\\").replace("*", "\\*")).strip()
    variable = f" (`{option.envvar}`)" if isinstance(option.envvar, str) else ""
    return f"- `{names}`{variable}{': ' + told if told else ''}"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - that is what it is for
