"""`router worker` as a process of its own, to be killed, with plugins that write down what they do.

Three handle every event of one log: ``plain`` with a `def`, ``awaiting`` with an `async def`, and
``effects``, whose row an event is part of the transaction that settles it.
"""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from string import Template

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, create_engine

from router.log import EventLog
from tests.entries import append_messages
from tests.faults.server import COMMAND

# No key but its own: an effect that was there twice would be seen.
EFFECT = Table(
    "effect",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("position", BigInteger),
    Column("subject", Text),
)
PLAIN, AWAITING, EFFECTS = "plain", "awaiting", "effects"
BATCH = 500  # events appended at once

_HEAD = Template("""
import asyncio, os, random, time
from sqlalchemy import text
from router import hookimpl

JOURNAL = os.open("$name.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(word, event):
    line = f"{os.getpid()} {word} {event.position} {event.subject}\\n"
    os.write(JOURNAL, line.encode())  # at once, so that no kill can take it back

def draw(event, context):
    chance = random.Random(f"$name {event.position} {context.attempt}")
    return chance.random() < $failing, chance.random() * 0.01

@hookimpl
def subscription_options():
    return {
        "start": "beginning",
        "concurrency": 16,
        "retry": {"first": "100ms", "factor": 1.5, "cap": "500ms"},
    }

def end(event, fails):
    note("failed" if fails else "handled", event)
    if fails:
        raise RuntimeError("as bad luck would have it")
""")

_HANDLERS: Mapping[str, str] = {
    PLAIN: """
@hookimpl
def on_event(event, context):
    note("began", event)
    fails, seconds = draw(event, context)
    time.sleep(seconds)
    end(event, fails)
""",
    AWAITING: """
@hookimpl
async def on_event(event, context):
    note("began", event)
    fails, seconds = draw(event, context)
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError:  # of a lane that has another owner by now
        note("failed", event)
        raise
    end(event, fails)
""",
    EFFECTS: """
@hookimpl
def on_event(event, context, connection):
    note("began", event)
    fails, _ = draw(event, context)
    insert = text("INSERT INTO effect (position, subject) VALUES (:position, :subject)")
    connection.execute(insert, {"position": event.position, "subject": event.subject})
    end(event, fails)
""",
}


def prepare(folder: Path, *, failing: float, plugins: tuple[str, ...], settings: str = "") -> None:
    """Write the settings and the plugins to ``folder``; make the table of effects.

    Args:
        folder: Where a worker will run.
        failing: The share of calls that fail, drawn for each attempt.
        plugins: Which.
        settings: More of `router.toml`.
    """
    (folder / "router.toml").write_text(f'plugins_dir = ["handlers"]\n{settings}')
    write_plugins(folder, failing=failing, plugins=plugins)
    make_effects(f"sqlite:///{folder / 'router.db'}")


def write_plugins(folder: Path, *, failing: float, plugins: tuple[str, ...]) -> None:
    """Write ``plugins`` to where those of ``folder`` are."""
    (folder / "handlers").mkdir(exist_ok=True)
    for name in plugins:
        source = _HEAD.substitute(name=name, failing=failing) + _HANDLERS[name]
        (folder / "handlers" / f"{name}.py").write_text(source)


def make_effects(database: str) -> None:
    """Make the table of effects in the database at a URL."""
    engine = create_engine(database)
    EFFECT.metadata.create_all(engine)
    engine.dispose()


def append(folder: Path, *, events: int, subjects: int) -> None:
    """Append ``events`` messages, each of a subject drawn at random."""
    log = EventLog(f"sqlite:///{folder / 'router.db'}")
    chance = random.Random(events)  # noqa: S311  # the same each time
    for at in range(0, events, BATCH):
        size = min(BATCH, events - at)
        append_messages(log, [f"c{chance.randrange(subjects)}" for _ in range(size)])
    log.store.close()


class Worker:
    """A running worker."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self._process = process
        self._said = said

    def require_alive(self) -> None:
        """Fail with what it said if it has ended by itself."""
        said = self._said.read_text()[-2_000:] if self._process.poll() is not None else ""
        assert self._process.returncode is None, f"the worker ended: {said}"

    def kill(self) -> None:
        """End it without a chance to do anything."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as an operator would; all is written down then."""
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(40) == 0, self._said.read_text()[-2_000:]


@contextmanager
def work(folder: Path) -> Iterator[Worker]:
    """Start ``router worker`` in ``folder``; it is killed with the block."""
    said = folder / "said.txt"
    with said.open("ab") as output:
        command = [sys.executable, "-c", COMMAND, "worker"]
        process = subprocess.Popen(command, cwd=folder, stderr=output)
    try:
        yield Worker(process, said)
    finally:
        process.kill()
        process.wait()
