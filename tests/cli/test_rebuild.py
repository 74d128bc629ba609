"""Tests of `router rebuild`: what can be rebuilt is counted, asked about, started and followed."""

from pathlib import Path

import pytest

from router.log import EventLog
from router.replay import Replays
from tests.cli.conftest import Run, Start
from tests.entries import append, append_messages, make_entry

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

MODEL = """
from router import hookimpl
from sqlalchemy import Column, Integer, MetaData, Table

METADATA = MetaData()
TABLE = Table("model", METADATA, Column("position", Integer, primary_key=True))

@hookimpl
def tables():
    return METADATA

@hookimpl
def subscription_options():
    return {"start": "beginning"}

@hookimpl
def on_message(event, connection):
    connection.execute(TABLE.insert().values(position=event.position))
"""
PLAIN = """
from router import hookimpl

@hookimpl
def on_message(event):
    pass
"""


@pytest.fixture
def full(log: EventLog, tmp_path: Path) -> EventLog:
    """A log with three messages and a receipt, and the plugins ``model`` and ``plain``."""
    append_messages(log, ["ana", "ben", "ana"])
    append(log, make_entry("ana", "read"))
    folder = tmp_path / "handlers"
    folder.mkdir()
    (folder / "model.py").write_text(MODEL)
    (folder / "plain.py").write_text(PLAIN)
    (tmp_path / "router.toml").write_text('plugins_dir = ["handlers"]\n')
    return log


def test_a_rebuild_runs_to_its_end(full: EventLog, run: Run, start: Start) -> None:
    """It is planned, asked about, carried out by a worker, and shown as what it is."""
    assert run("db", "upgrade").code == 0
    with start("worker") as worker:
        while "delivering" not in worker.stderr.readline():
            assert worker.poll() is None
        dry = run("rebuild", "model", "--dry-run", "--json")
        refused = run("rebuild", "model", stdin=b"y\n")
        result = run("rebuild", "model", "--yes", "--wait", "--json", "--reason", "new column")
        worker.terminate()
        assert worker.wait() == 0

    assert dry.data == {"total": 3, "by_type": {"message": 3}, "tables": ["model"]}
    assert (refused.code, "Fill model anew from 3 events" in refused.err) == (2, True)
    assert (result.code, result.data["state"], result.data["done"]) == (0, "done", 3)
    found = Replays(full).find(1)
    assert (found.is_rebuild, found.reason) == (True, "new column")
    with full.store.reading() as connection:
        rows = connection.exec_driver_sql("SELECT position FROM model ORDER BY 1").scalars().all()
    assert rows == [1, 2, 3]
    assert "is_rebuild:       yes" in run("replay", "show", "1").out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("plain", "'plain' cannot be rebuilt: only a plugin whose handlers name `connection`"),
        ("other", "there is no plugin 'other' that handles events (loaded: model, plain)"),
    ],
)
def test_what_cannot_be_rebuilt_is_a_failure(
    full: EventLog, run: Run, name: str, said: str
) -> None:
    """A plugin that is not transactional, and one that is unknown."""
    result = run("rebuild", name, "--yes")

    assert (result.code, said in result.err) == (1, True)
    assert Replays(full).list(limit=1) == []


def test_a_person_learns_what_would_be_done(full: EventLog, run: Run, start: Start) -> None:
    """The tables and the number of events, and nothing is started."""
    assert run("db", "upgrade").code == 0
    with start("worker") as worker:
        while "delivering" not in worker.stderr.readline():
            assert worker.poll() is None
        worker.terminate()
        assert worker.wait() == 0

    result = run("rebuild", "model", "--dry-run")

    assert (result.code, result.out) == (0, "model would be filled anew from 3 events\n")
    assert Replays(full).list(limit=1) == []
