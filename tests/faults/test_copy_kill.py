"""A log moves to PostgreSQL in the midst of its work, and the copy is killed on the way.

With ROUTER_TEST_SIZE=full there are 100,000 events, which takes minutes; in CI 5,000.
"""

import asyncio
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from signal import SIGKILL
from string import Template

import pytest
from sqlalchemy import text

from router.claims import LIVE
from router.control import Control
from router.log import EventLog
from router.replay import Replays
from router.store import Store
from tests.clusters import Server
from tests.entries import append_messages
from tests.faults.fleet import configure, running
from tests.faults.server import COMMAND
from tests.faults.worker import append, work
from tests.records import read_blocked, read_lanes, read_parked
from tests.sizes import choose
from tests.waiting import until

pytestmark = pytest.mark.slow

EVENTS, SUBJECTS, MORE = choose((2_000, 100, 300), ci=(5_000, 100, 300), full=(100_000, 500, 2_000))
HALF = EVENTS // 2  # comes when nobody works any more
RATE = HALF // 8  # of the replay: the stop comes while much of it is left
SECONDS = 600

# Fails at its first event until it is let go, which the target does.
EFFECTS = """
import os
from router import Retry, hookimpl
from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text, insert

metadata = MetaData()
EFFECT = Table(
    "crm_effect", metadata,
    Column("id", Integer, primary_key=True),  # no key but its own: twice would be seen
    Column("position", BigInteger), Column("attempt", Integer),
)

@hookimpl
def tables():
    return metadata

@hookimpl
def subscription_options():
    # Until it may go on it is not to be given up, however long the rest takes.
    return {"start": "beginning", "retry": {"attempts": 100_000}}

@hookimpl
def on_event(event, context, connection):
    if event.position == 1 and not os.path.exists("go"):
        raise Retry(after=0.5)
    row = {"position": event.position, "attempt": context.attempt}
    connection.execute(insert(EFFECT).values(**row))
"""
REPLAYED = Template("""
import os
from router import hookimpl

JOURNAL = os.open("$journal", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@hookimpl(replay="allow")
async def on_event(event):
    if event.replay:
        os.write(JOURNAL, f"{event.position}\\n".encode())
""")
# The copy, which is killed by itself once it has brought half of the events over.
DYING = Template("""
import os, signal
from router.cli import copying, main

tell = copying._tell

def die(what, table, rows):
    tell(what, table, rows)
    if table == "event" and rows >= $rows:
        os.kill(os.getpid(), signal.SIGKILL)

copying._tell = die
main()
""")


@pytest.fixture
def source(tmp_path: Path, empty_database: Path) -> Path:
    """A folder with a log and two plugins, which no worker has run yet."""
    folder = tmp_path / "source"
    (folder / "handlers").mkdir(parents=True)
    shutil.copy(empty_database, folder / "router.db")
    (folder / "router.toml").write_text('plugins_dir = ["handlers"]\n')
    (folder / "handlers" / "crm.py").write_text(EFFECTS)
    replayed = REPLAYED.substitute(journal=tmp_path / "journal.txt")
    (folder / "handlers" / "replayed.py").write_text(replayed)
    command(folder, COMMAND, "db", "upgrade")
    append(folder, events=HALF, subjects=SUBJECTS)
    return folder


@pytest.fixture
def target(tmp_path: Path, source: Path, postgres: Server) -> Iterator[str]:
    """The URL of a new database with the tables of both, and a folder `target` to work in."""
    name = postgres.make()
    folder = tmp_path / "target"
    folder.mkdir()
    configure(folder, postgres.url(name))
    shutil.copytree(source / "handlers", folder / "handlers", dirs_exist_ok=True)
    (folder / "go").touch()
    command(folder, COMMAND, "db", "upgrade")
    yield postgres.url(name)
    postgres.drop(name)


def command(
    folder: Path, program: str, *words: str, code: int = 0
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, which it comes to with ``code``."""
    ended = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert ended.returncode == code, (ended.stdout, ended.stderr)
    return ended


def wait(condition: Callable[[], object]) -> None:
    """Wait for something that comes true in a process that runs."""
    asyncio.run(until(condition, seconds=SECONDS))


def test_a_log_moves_in_the_midst_of_its_work(source: Path, target: str, tmp_path: Path) -> None:
    """Nothing is lost and nothing done twice; retry, blocked subject and replay go on there."""
    old = EventLog(f"sqlite:///{source / 'router.db'}")
    attempts = work_for_a_while(source, old)
    append(source, events=EVENTS - HALF, subjects=SUBJECTS)
    words = ("db", "copy", "--from", "sqlite:///router.db", "--to", target)

    command(source, DYING.substitute(rows=HALF), *words, code=-SIGKILL)
    require_unused(tmp_path / "target", target)
    copied = command(source, COMMAND, *words)

    assert f"the same on both sides, up to position {EVENTS}" in copied.stdout
    assert "crm_effect: " in copied.stderr
    new = EventLog(target)
    assert facts_of(new) == facts_of(old)
    go_on(tmp_path / "target", new)
    check_effects(new.store, attempts=attempts)
    check_replay(new, tmp_path / "journal.txt")
    old.store.close()
    new.store.close()


def work_for_a_while(folder: Path, log: EventLog) -> int:
    """Let a worker deliver all that is there, try a failure again and begin with a replay.

    Returns:
        How many attempts at the first event were made.
    """
    with work(folder) as worker:
        wait(lambda: replayed_to(log) == HALF)
        wait(lambda: 1 in (parked := read_parked(log.store)) and parked[1].attempts > 1)
        wait(lambda: read_lanes(log.store)[0].checkpoint == HALF)
        replays = Replays(log)
        replays.start(replays.plan("replayed"), reason="a test", by="me", rate=RATE)
        wait(lambda: replays.find(1).done > RATE // 8)
        worker.stop()
    replay, parked = replays.find(1), read_parked(log.store)
    assert (replay.state, 0 < replay.done < HALF) == ("running", True)
    assert (list(parked), parked[1].state) == ([1], "retry")
    assert list(read_blocked(log.store).values()) == [1]
    return parked[1].attempts


def replayed_to(log: EventLog) -> int:
    """How far the plugin that a replay is of has come in live delivery."""
    lanes = read_lanes(log.store, "replayed")
    return lanes[0].checkpoint if lanes else 0


def require_unused(folder: Path, url: str) -> None:
    """Check that a part of a log is there, and that nobody takes it for one."""
    store = Store(url)
    with store.reading() as connection:
        count = connection.scalar(text("SELECT count(*) FROM event"))
    store.close()
    assert 0 < count < EVENTS
    for words in (("worker",), ("serve", "--port", "0")):
        refused = command(folder, COMMAND, *words, code=1)
        assert "a copy into it has not ended" in refused.stderr


def facts_of(log: EventLog) -> list[object]:
    """All events as they are, and where retries and replays stand."""
    events: list[object] = [(one.position, one.id, one.notification.body) for one in log.read()]
    parked, blocked = read_parked(log.store), read_blocked(log.store)
    return [*events, parked, blocked, replayed_to(log), Replays(log).find(1)]


def go_on(folder: Path, log: EventLog) -> None:
    """Let two workers share what is left, and take what comes meanwhile."""
    assert len(read_lanes(log.store)) == 1
    assert Control(log.store).relane("crm", 4, actor="me") == 1
    with running(folder, workers=2) as fleet:
        head = append_messages(log, [f"c{n % SUBJECTS}" for n in range(MORE)])[-1]
        assert head == EVENTS + MORE

        def is_done() -> bool:
            for worker in fleet.workers:
                worker.require_alive()
            lanes = [*read_lanes(log.store), *read_lanes(log.store, "replayed")]
            is_level = all(lane.checkpoint == head for lane in lanes)
            return is_level and not read_parked(log.store) and Replays(log).find(1).is_finished

        wait(is_done)
        for worker in fleet.workers:
            worker.stop()


def check_effects(store: Store, *, attempts: int) -> None:
    """Check that each event is in effect once, the first at its next attempt."""
    with store.reading() as connection:
        rows = connection.execute(text("SELECT position, attempt FROM crm_effect")).all()
    found = {row.position: row.attempt for row in rows}
    assert len(rows) == len(found)
    assert found == dict.fromkeys(range(1, EVENTS + MORE + 1), 1) | {1: attempts + 1}
    assert (read_blocked(store), read_parked(store)) == ({}, {})


def check_replay(log: EventLog, journal: Path) -> None:
    """Check that each event was replayed once, on the one side or the other."""
    replay = Replays(log).find(1)
    assert (replay.state, replay.done, replay.failed) == ("done", HALF, 0)
    handled = Counter(map(int, journal.read_text().split()))
    assert handled == dict.fromkeys(range(1, HALF + 1), 1)
    assert read_lanes(log.store, "replayed", run=1) == []
    assert len(read_lanes(log.store, "replayed", run=LIVE)) == 1
