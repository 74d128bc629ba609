"""A plugin's tables are filled anew while events arrive, readers look, and the worker is killed.

With ROUTER_TEST_SIZE=full there are 1,000,000 events in the log, which takes minutes.
"""

import json
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from router import plugin_tables
from router.host import Host
from router.log import EventLog
from router.replay import Replays
from tests.entries import append_messages
from tests.faults.worker import work
from tests.sizes import choose

pytestmark = pytest.mark.slow

EVENTS = choose(8_000, ci=8_000, full=1_000_000)
PAUSE = choose(0.02, ci=0.01, full=0.2)  # seconds between two looks of a reader
RATE = 500  # events a second that arrive meanwhile
SECONDS = choose(300, ci=300, full=1_800)  # that any step may take: far more than it needs

PLUGIN = """
from router import hookimpl
from sqlalchemy import Column, Index, Integer, MetaData, Table, Text

METADATA = MetaData()
SEEN = Table(
    "model_seen",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Index("ix_model_seen_subject", "subject"),
)

@hookimpl
def tables():
    return METADATA

@hookimpl
def subscription_options():
    return {"start": "beginning"}

@hookimpl
def on_event(event, connection):
    row = (event.position, event.subject, 0 if event.replay is None else event.replay.id)
    connection.exec_driver_sql("INSERT INTO model_seen VALUES (?, ?, ?)", row)
"""


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Path:
    """A folder with a log, and a plugin with its table."""
    shutil.copy(empty_database, tmp_path / "router.db")
    (tmp_path / "router.toml").write_text('plugins_dir = ["handlers"]\n')
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "model.py").write_text(PLUGIN)
    with opened(tmp_path) as log:
        host = Host.load(directories=[tmp_path / "handlers"], entry_points=())
        plugin_tables.create(log.store.engine, host.tables())
        for at in range(0, EVENTS, 500):
            append_messages(log, [f"c{one % 997}" for one in range(at, at + 500)])
    return tmp_path


@contextmanager
def opened(folder: Path) -> Iterator[EventLog]:
    """Open the log in ``folder`` beside the worker."""
    log = EventLog(f"sqlite:///{folder / 'router.db'}")
    try:
        yield log
    finally:
        log.store.close()


class Reader:
    """Reads the model over and over, each time all of it in one transaction.

    Attributes:
        looks: How often.
        flaws: What was seen that is no whole model, or an older one than before.
    """

    def __init__(self, folder: Path) -> None:
        self._database = sqlite3.connect(folder / "router.db", timeout=30, check_same_thread=False)
        self._before = 0
        self.looks = 0
        self.flaws: list[str] = []

    def look(self) -> None:
        """Read it once."""
        query = "SELECT count(*), max(position) FROM model_seen"
        count, last = self._database.execute(query).fetchone()
        if count != last or last < self._before:
            self.flaws.append(f"{count} rows up to {last}, after {self._before}")
        self._before = last
        self.looks += 1

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()


class Meanwhile:
    """What goes on beside the rebuild, in a thread: events arrive, and somebody reads.

    Attributes:
        reader: The reader.
    """

    def __init__(self, folder: Path, log: EventLog) -> None:
        self.reader = Reader(folder)
        self._log = log
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._append, self._read)]

    def __enter__(self) -> "Meanwhile":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join()
        self.reader.close()

    def _append(self) -> None:
        number = 0
        while not self._is_over.wait(10 / RATE):
            append_messages(self._log, [f"c{(number + one) % 997}" for one in range(10)])
            number += 10

    def _read(self) -> None:
        while not self._is_over.wait(PAUSE):
            self.reader.look()


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds."""
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.05)


def test_a_rebuild_survives_a_kill_and_is_seen_by_nobody_before_it_is_whole(folder: Path) -> None:
    """Readers see the old model or the new one, whole; each event is in the new one once."""
    with opened(folder) as log:
        replays = Replays(log)

        def checkpoint() -> int:
            lane = log.store.tables.lane.c
            with log.store.reading() as connection:
                query = log.store.tables.lane.select().where(lane.run == 0)
                rows = connection.execute(query).all()
            return min((row.checkpoint for row in rows), default=0)

        with work(folder) as worker:
            wait_for(lambda: checkpoint() >= EVENTS)
            with Meanwhile(folder, log) as meanwhile:
                plan = replays.plan("model", include_effects=True)
                number = replays.start(plan, reason="", by="test", rebuilds=["model_seen"]).id
                wait_for(lambda: replays.find(number).done >= EVENTS // 3)
                worker.kill()
                before = replays.find(number).done
                with work(folder) as other:
                    began = time.monotonic()
                    wait_for(lambda: replays.find(number).is_finished)
                    took = time.monotonic() - began
                    live = log.head()
                    wait_for(lambda: checkpoint() > live)  # what comes later goes the same way
                    wait_for(lambda: replays.find(number).rebuilds == ())  # the old tables are gone
                    other.stop()
        found = replays.find(number)
        head = log.head()
    assert (found.state, found.failed, found.done) == ("done", 0, found.total)
    assert meanwhile.reader.flaws == []
    with closing(sqlite3.connect(folder / "router.db")) as database:
        settled = database.execute("SELECT checkpoint FROM lane").fetchall()
        count, last, versions = database.execute(
            "SELECT count(*), max(position), count(DISTINCT version) FROM model_seen"
        ).fetchone()
        rebuilt = database.execute(
            "SELECT max(position) FROM model_seen WHERE version = ?", (number,)
        ).fetchone()[0]
        older = database.execute(
            "SELECT count(*) FROM model_seen WHERE version = 0 AND position <= ?", (rebuilt,)
        ).fetchone()[0]
        detail = json.loads(
            database.execute("SELECT detail FROM audit WHERE action LIKE 'rebuild%'").fetchone()[0]
        )
        tables = database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'model%'"
        ).fetchall()
    assert (count, settled) == (last, [(last,)])
    assert last <= head
    assert (versions, older) == (2, 0)  # from the rebuild up to the switch, live from there
    assert rebuilt == found.done > EVENTS
    assert tables == [("model_seen",)]
    print(  # noqa: T201  # for -s
        f"\nkilled at {before}; {found.done} events, the rest in {took:.0f} s; live delivery was "
        f"halted for {detail['halted_ms']} ms; {meanwhile.reader.looks} looks"
    )
