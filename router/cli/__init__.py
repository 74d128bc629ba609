"""The command `router`: stdout is data, everything else goes to stderr."""

import sys
from collections.abc import Sequence

import click
from sqlalchemy.exc import DBAPIError

from router.cli.additions import Commands
from router.cli.own import PLACES, OwnCommands
from router.errors import RouterError


@click.group(
    cls=Commands,
    commands=OwnCommands(PLACES),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="notification-router", prog_name="router")
def router() -> None:
    """Receive webhook notifications, keep them in an event log, route their events to plugins.

    New here?  router demo
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: exit 0 ok, 1 failure, 2 usage, 3 ran but found a problem.

    Args:
        arguments: What follows the command's name; None takes what the process was given.
    """
    try:
        code = router(arguments, prog_name="router", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Aborted.", err=True)
        sys.exit(130)
    except RouterError as error:
        click.echo(f"Error: {_explain(error)}", err=True)
        sys.exit(1)
    except DBAPIError as error:  # not a database, or not to be written to
        click.echo(f"Error: the database cannot be used: {error.orig}", err=True)
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)  # click returns what a command's Exit held


def _explain(error: RouterError) -> str:
    """Return what happened, with its cause where that says more."""
    said, cause = str(error), error.__cause__
    reason = str(getattr(cause, "orig", cause)) if cause else ""  # the driver's words, no statement
    reason = reason.partition("\n")[0]
    return said if reason in said else f"{said} ({reason})"
