"""`router config`: the settings as they are in force."""

import click

from router.cli import output
from router.cli.settings import with_config
from router.config import Config, describe


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command()
@output.json_option
@with_config
def show(found: Config, *, as_json: bool) -> None:
    """Show every setting, and where it comes from."""
    rows = describe(found)
    if as_json:
        output.print_json({key: {"value": value, "origin": origin} for key, value, origin in rows})
    else:
        output.print_table(("setting", "value", "origin"), rows)
