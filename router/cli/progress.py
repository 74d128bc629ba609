"""Following a replay to its end, on stderr."""

import sys
from collections.abc import Callable

import click

from router.cli.output import note
from router.replay import Replay, Replays
from router.retention import FINISHED

POLL = 0.5  # seconds between two looks


def follow(replays: Replays, started: Replay, *, sleep: Callable[[float], None]) -> Replay:
    """Return the replay once it has ended, and tell on stderr how it goes until then.

    Ctrl-C leaves it running.
    """
    found, line = started, ""
    try:
        while found.state not in FINISHED:
            line = _tell(found, before=line)
            sleep(POLL)
            found = replays.find(started.id)
    except KeyboardInterrupt:
        note(f"\nReplay {started.id} goes on: router replay show {started.id}")
        raise
    _tell(found, before=line, is_last=True)
    return found


def _tell(found: Replay, *, before: str, is_last: bool = False) -> str:
    """Show the state: over the line ``before`` on a terminal, else only at the end."""
    settled = f"{found.done} done, {found.failed} failed of {found.total}"
    line = f"replay {found.id} {found.state}: {settled}"
    if sys.stderr.isatty():
        click.echo(f"\r{line:<{len(before)}}", err=True, nl=is_last)
    elif is_last:
        note(line)
    return line
