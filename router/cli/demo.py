"""`router demo`: a router at work, from the first notification to a replay, in a few seconds."""

import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
from rich.console import Console

from router.cli import output
from router.cli.live import play_live, print_live
from router.cli.selection import Number, duration
from router.cli.simulation import Traffic
from router.demo.play import play
from router.demo.project import write_project
from router.demo.scene import Scene
from router.errors import RouterError
from router.testing.coreapp.ledger import Ledger

PLAIN_WIDTH = 92
GRACE = 10.0  # seconds for the last answers
RATE = 50.0  # notifications a second


@click.command()
@click.option("--keep", is_flag=True, help="Go on serving in the end, until Ctrl-C.")
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="A new folder to work in, which is kept; default: a temporary one.",
)
@click.option("--live", is_flag=True, help="Traffic instead of a story, until Ctrl-C.")
@click.option(
    "--rate",
    type=Number(0, min_open=True),
    help=f"With --live: notifications a second; default: {RATE:g}.",
)
@click.option("--for", "seconds", metavar="TIME", type=duration, help="With --live: for how long.")
def demo(
    *, keep: bool, folder: Path | None, live: bool, rate: float | None, seconds: float | None
) -> None:
    """See a router at work: a short story, told over HTTP on this machine alone."""
    if live and keep:
        raise click.UsageError("Either --live or --keep.")
    for name, value in (("--rate", rate), ("--for", seconds)):
        if value is not None and not live:
            raise click.UsageError(f"{name} needs --live.")
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as Ctrl-C does
    try:
        with _make_folder(folder, keep=keep) as place:
            settings = write_project(place)
            if live:
                show_traffic(settings, rate=rate or RATE, seconds=seconds)
            else:
                play(settings, make_scene(), command=find_command(), keep=keep)
    except OSError as error:
        raise RouterError(f"the demo cannot go on: {error}") from error
    finally:
        signal.signal(signal.SIGTERM, former)


class Screen(Console):
    """A console whose reader may leave early."""

    def on_broken_pipe(self) -> None:
        """End well, as all commands do then; rich itself would end with a failure."""
        with suppress(SystemExit):
            super().on_broken_pipe()
        raise click.exceptions.Exit(0)


def show_traffic(settings: Path, *, rate: float, seconds: float | None) -> None:
    """Let the shop's traffic flow, and sum up, even where the plugins do not keep up with it."""
    seed = secrets.randbits(32)
    traffic = Traffic(rate=rate, seconds=seconds, most=None, grace=GRACE)
    ledger, failure = Ledger(keeps=False), None
    try:
        play_live(settings, traffic, ledger=ledger, console=make_console(), seed=seed)
    except RouterError as error:
        if not ledger.count().sent:
            raise
        failure = error
    summary = ledger.summarise()
    print_live(summary, seed=seed)
    if failure is not None:
        raise failure
    if summary.acknowledged < summary.notifications:
        raise click.exceptions.Exit(3)


def make_scene() -> Scene:
    """Return the scene for stdout: colours and pauses on a terminal, plain text elsewhere."""
    pause = time.sleep if sys.stdout.isatty() else lambda _: None
    return Scene(make_console(), pause=pause)


def make_console() -> Screen:
    """Return the console for stdout, with escape codes on a terminal that wants them."""
    is_terminal = output.is_terminal()
    return Screen(
        force_terminal=is_terminal,
        color_system="auto" if is_terminal else None,
        width=None if sys.stdout.isatty() else PLAIN_WIDTH,
        highlight=False,
    )


def find_command() -> str:
    """Return how this command was called, for others to be called likewise."""
    return "uv run router" if "UV_RUN_RECURSION_DEPTH" in os.environ else "router"


@contextmanager
def _make_folder(folder: Path | None, *, keep: bool) -> Iterator[Path]:
    """Yield the folder to work in; one that nobody asked for goes with the demo."""
    if folder is not None:
        yield folder.absolute()
        return
    made = Path(tempfile.mkdtemp(prefix="router-demo-"))
    try:
        yield made
    finally:
        if keep:
            click.echo(f"{made} is kept: remove it when you are done.", err=True)
        else:
            shutil.rmtree(made)
