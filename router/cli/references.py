"""Secrets on a command line: it says where they are kept, for it is seen by every process."""

from pathlib import Path

import click

from router.secrets import Secret

PLACES = ("env:", "file:")


class Reference(click.ParamType[Secret]):
    """``env:NAME`` or ``file:PATH``; never the secret itself."""

    name = "env:NAME|file:PATH"

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
