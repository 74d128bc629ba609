"""The command `router`: stdout is data, everything else goes to stderr."""

import sys

import click

from router.cli.db import db
from router.cli.serve import serve, worker
from router.errors import RouterError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="notification-router", prog_name="router")
def router() -> None:
    """Receive webhook notifications, keep them in an event log, route their events to plugins.

    New here?  router demo
    """


for command in (db, serve, worker):
    router.add_command(command)


def main() -> None:
    """Run the command line: exit 0 ok, 1 failure, 2 usage, 3 ran but found a problem."""
    try:
        router(standalone_mode=False)
    except click.exceptions.Exit as stop:
        sys.exit(stop.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Aborted.", err=True)
        sys.exit(130)
    except BrokenPipeError:  # whoever read stdout has seen enough
        sys.stderr.close()
        sys.exit(0)
    except RouterError as error:
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        click.echo(f"Error: {error}{cause}", err=True)
        sys.exit(1)
