"""The command `router`: stdout is data, everything else goes to stderr."""

import sys
from collections.abc import Sequence

import click
from sqlalchemy.exc import DBAPIError

from router.cli.additions import Commands
from router.cli.cloud import group as cloud
from router.cli.config import config
from router.cli.coreapp import group as coreapp
from router.cli.db import db
from router.cli.dead import dead
from router.cli.demo import demo
from router.cli.doctor import doctor
from router.cli.events import events
from router.cli.parse import parse
from router.cli.plugins import plugins
from router.cli.rebuild import rebuild
from router.cli.replay import replay
from router.cli.send import send
from router.cli.serve import serve, worker
from router.cli.simulate import simulate
from router.cli.subscriptions import subscriptions
from router.cli.timeline import timeline
from router.cli.workers import workers
from router.errors import RouterError

COMMANDS: Sequence[click.Command] = (
    cloud,
    config,
    coreapp,
    db,
    dead,
    demo,
    doctor,
    events,
    parse,
    plugins,
    replay,
    rebuild,
    send,
    serve,
    simulate,
    subscriptions,
    timeline,
    worker,
    workers,
)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="notification-router", prog_name="router")
def router() -> None:
    """Receive webhook notifications, keep them in an event log, route their events to plugins.

    New here?  router demo
    """


for command in COMMANDS:
    router.add_command(command)


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
