"""Tests of `router db copy`: what the command takes, tells, and says of plugins' tables."""

from pathlib import Path

import pytest

from router.log import EventLog
from tests.cli.conftest import Run
from tests.clusters import Server
from tests.entries import append_messages
from tests.histories import subscribe
from tests.records import read_lanes

pytestmark = pytest.mark.engines("sqlite", "postgresql")

KEEPER = """
from router import hookimpl
from sqlalchemy import JSON, Column, DateTime, Integer, MetaData, Table, Text

metadata = MetaData()
Table("crm_contact", metadata, Column("id", Integer, primary_key=True), Column("name", Text))
Table("crm_odd", metadata, Column("id", Integer, primary_key=True), Column("data", JSON))
Table("crm_loose", metadata, Column("name", Text))

@hookimpl
def tables():
    return metadata

@hookimpl
def on_message(event):
    pass
"""


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """Two messages and a subscription with one lane."""
    append_messages(log, ["ana", "ben"])
    subscribe(log)
    with log.store.writing() as connection:
        free = log.store.tables.lane.update()
        connection.execute(free.values(owner=None, expires_at=None))
    return log


@pytest.fixture
def new(run: Run) -> str:
    """The URL of a new database with tables."""
    assert run("db", "upgrade", "--database", "sqlite:///new.db").code == 0
    return "sqlite:///new.db"


def test_a_log_is_copied_and_that_is_told(full: EventLog, run: Run, new: str) -> None:
    """Each table with its rows and digest, on stdout; progress and advice on stderr."""
    result = run("db", "copy", "--to", new)

    assert result.code == 0
    heading, *lines, last = result.out.splitlines()
    assert heading.split() == ["TABLE", "ROWS", "DIGEST"]
    assert ["event", "2"] in [line.split()[:2] for line in lines]
    assert last == "the same on both sides, up to position 2"
    assert "event: 2 rows compared\n" in result.err
    assert "No table of a plugin was copied for crm" in result.err
    listed = run("events", "list", "--json")
    assert run("events", "list", "--json", "--database", new).data == listed.data


def test_programs_read_it(full: EventLog, run: Run, new: str) -> None:
    """As JSON; a URL may stand somewhere else."""
    Path("url.txt").write_text(new)

    data = run("db", "copy", "--to", "file:url.txt", "--json").data

    assert (data["head"], data["left"]) == (2, [])
    sums = {one["table"]: one for one in data["tables"]}
    assert (sums["event"]["rows"], len(sums["event"]["digest"])) == (2, 32)


def test_lanes_are_advised_where_workers_share_them(
    full: EventLog, run: Run, postgres: Server
) -> None:
    """On PostgreSQL: a subscription keeps its one lane, and may be cut anew."""
    name = postgres.make()
    url = postgres.url(name)
    assert run("db", "upgrade", "--database", url).code == 0

    result = run("db", "copy", "--to", url)
    relaned = run("subscriptions", "relane", "crm", "8", "--database", url)

    assert (result.code, relaned.code) == (0, 0)
    assert "`router subscriptions relane NAME 8`" in result.err
    assert relaned.out == "crm has 8 lanes now, 1 before\n"
    postgres.drop(name)


def test_tables_of_plugins_go_along(full: EventLog, run: Run, tmp_path: Path) -> None:
    """Those that mean the same everywhere; the others are named."""
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "crm.py").write_text(KEEPER)
    options = ("--plugins-dir", "handlers")
    assert run("db", "upgrade", *options).code == 0
    with full.store.writing() as connection:
        connection.exec_driver_sql("INSERT INTO crm_contact VALUES (7, 'Ana')")
    bare = "sqlite:///new.db"
    assert run("db", "upgrade", "--database", bare).code == 0
    lacking = run("db", "copy", "--to", bare, *options)
    assert run("db", "upgrade", "--database", bare, *options).code == 0

    result = run("db", "copy", "--to", bare, *options)

    assert (lacking.code, "crm_contact of plugin 'crm'" in lacking.err) == (1, True)
    assert result.code == 0
    assert "Not copied" in result.err
    assert "crm_loose, crm_odd" in result.err
    assert "No table of a plugin was copied" not in result.err
    new = EventLog("sqlite:///new.db")
    with new.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT * FROM crm_contact").all() == [(7, "Ana")]
    assert len(read_lanes(new.store)) == 1
    new.store.close()


@pytest.mark.engines("sqlite")
def test_a_log_is_not_copied_onto_itself(full: EventLog, run: Run) -> None:
    """Neither under one name nor under two."""
    same = run("db", "copy", "--to", full.store.engine.url.render_as_string())
    alias = run("db", "copy", "--to", "sqlite:///router.db")

    assert (same.code, alias.code) == (2, 1)
    assert "the same database" in same.err
    assert run("events", "list", "--json").code == 0


@pytest.mark.engines("sqlite")
def test_what_is_no_url_is_told(full: EventLog, run: Run) -> None:
    """It is a mistake in the command line."""
    assert run("db", "copy", "--to", "nonsense").code == 2
    assert run("db", "copy").code == 2
