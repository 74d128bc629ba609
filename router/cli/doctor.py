"""`router doctor`: what is wrong with the database, and what to do about it."""

import click

from router.cli import output
from router.cli.settings import open_store, with_config
from router.config import Config
from router.doctor import examine


@click.command()
@click.option("--deep", is_flag=True, help="Look at every event, not the oldest and newest alone.")
@output.json_option
@with_config
def doctor(found: Config, *, deep: bool, as_json: bool) -> None:
    """Examine the database; exit 3 if something is wrong.

    It changes nothing and may run at any time.
    """
    store = open_store(found)
    try:
        findings = examine(store, is_deep=deep)
    finally:
        store.close()
    if as_json:
        output.print_json([one.as_dict() for one in findings])
    else:
        rows = [
            (one.check, "ok" if one.is_sound else "problem", one.text, one.advice)
            for one in findings
        ]
        output.print_table(("check", "state", "found", "advice"), rows)
    if not all(one.is_sound for one in findings):
        raise click.exceptions.Exit(3)
