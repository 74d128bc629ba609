"""Changes to many rows at once: counted, asked about, and written down under a name."""

import getpass
import socket
import sys

import click

from router.cli.output import note

dry_run_option = click.option("--dry-run", is_flag=True, help="Only count what would be changed.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


def require_consent(question: str, *, yes: bool) -> None:
    """Return when somebody has agreed.

    Args:
        question: What is about to be done, with the exact count.
        yes: Whether the command line agrees already.

    Raises:
        click.UsageError: There is no terminal to ask at.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} There is no terminal to ask at: add --yes.")
    # Not click's own prompt, which writes to stdout.
    click.echo(f"{question} [y/N] ", err=True, nl=False)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        note("Nothing was changed.")
        raise click.exceptions.Exit(1)


def find_actor() -> str:
    """Return who runs the command, for the record."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a container may know no names
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
