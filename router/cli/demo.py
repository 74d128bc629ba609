"""`router demo`: a router at work, from the first notification to a replay, in a few seconds."""

import logging
import os
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
from router.demo.play import play
from router.demo.project import write_project
from router.demo.scene import Scene
from router.errors import RouterError

PLAIN_WIDTH = 92


@click.command()
@click.option("--keep", is_flag=True, help="Go on serving in the end, until Ctrl-C.")
@click.option(
    "--dir",
    "folder",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="A new folder to work in, which is kept; default: a temporary one.",
)
def demo(*, keep: bool, folder: Path | None) -> None:
    """See a router at work: a short story, told over HTTP on this machine alone."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)  # it ends as Ctrl-C does
    try:
        with _make_folder(folder, keep=keep) as place:
            play(write_project(place), make_scene(), command=find_command(), keep=keep)
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


def make_scene() -> Scene:
    """Return the scene for stdout: colours and pauses on a terminal, plain text elsewhere."""
    is_terminal = output.is_terminal()
    console = Screen(
        force_terminal=is_terminal,
        color_system="auto" if is_terminal else None,
        width=None if sys.stdout.isatty() else PLAIN_WIDTH,
        highlight=False,
    )
    return Scene(console, pause=time.sleep if sys.stdout.isatty() else lambda _: None)


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
