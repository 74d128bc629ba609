"""Secrets on a command line: it says where they are kept, for it is seen by every process."""

import getpass
import sys
from pathlib import Path

import click

from router.secrets import Secret

PLACE = "env:NAME|file:PATH"
PLACES = ("env:", "file:")


class Reference(click.ParamType[Secret]):
    """``env:NAME`` or ``file:PATH``; never the secret itself."""

    name = PLACE

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Secret:
        """Return the secret, not yet read; the refusal does not repeat what was given."""
        if isinstance(value, Secret):
            return value
        if not (isinstance(value, str) and value.startswith(PLACES)):
            self.fail(
                "a secret is not given on the command line, where other processes see it: "
                "name the place where it is kept, env:NAME or file:PATH",
                param,
                ctx,
            )
        return Secret(value, Path.cwd())


REFERENCE = Reference()


def ask_secret(question: str, *, option: str) -> str:
    """Return what somebody types, which is not shown.

    Args:
        question: What is asked for.
        option: What may be given instead.

    Raises:
        click.UsageError: There is no terminal to ask at.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(
            f"There is no terminal to ask at: add {option} env:NAME or {option} file:PATH."
        )
    return getpass.getpass(f"{question}: ", stream=sys.stderr)
