"""Tests of commands on PostgreSQL: some of each kind, all that each asks of the database."""

import json
from pathlib import Path

import pytest

from router import migrate
from router.log import EventLog
from router.roster import Roster
from tests.cli.conftest import Run, Start
from tests.cli.served import served
from tests.clusters import Server
from tests.entries import append, append_messages, make_entry
from tests.histories import park, subscribe
from tests.records import read_lanes, read_parked

pytestmark = pytest.mark.engines("postgresql")

HANDLERS = """
from router import hookimpl

@hookimpl(replay="allow")
def on_message(event):
    print(event.position, flush=True)
"""


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """Three messages and a read, and a subscription to them whose first event is dead."""
    append_messages(log, ["ana", "ben", "cem"])
    append(log, make_entry("dee", "read"))
    subscribe(log)
    park(log, 1, error="KeyError: 'a'")
    return log


def test_a_database_is_brought_to_this_version(
    postgres: Server, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty one is told to be empty, and gets the tables once; its password is not shown."""
    name = postgres.make()
    monkeypatch.setenv("ROUTER_DATABASE", postgres.url(name))

    empty = run("db", "current")
    made = run("db", "upgrade")
    again = run("db", "upgrade")

    assert (empty.out.strip() == migrate.head(), made.code, again.code) == (False, 0, 0)
    assert f"no tables -> {migrate.head()}" in made.out
    assert f"at {migrate.head()} already" in again.out
    assert run("db", "current").out == f"{migrate.head()}\n"
    assert run("db", "check").code == 0
    postgres.drop(name)


def test_events_are_listed_shown_and_exported(full: EventLog, run: Run) -> None:
    """Page by page, by type and by subject, each as it is in the log."""
    first = run("events", "list", "--type", "message", "--limit", "2", "--json")
    second = run(
        *("events", "list", "--type", "message", "--json", "--cursor", first.json["next_cursor"])
    )
    exported = run("events", "export").lines

    assert len(first.data + second.data) == 3
    assert [one["position"] for one in exported] == [1, 2, 3, 4]
    assert [one["type"] for one in run("events", "list", "--subject", ":dee", "--json").data] == [
        "read"
    ]
    shown = run("events", "show", exported[1]["id"], "--json").data
    assert (shown["position"], shown["subject"]) == (2, ":ben")
    assert "payload" in shown


def test_a_subscription_is_steered(full: EventLog, run: Run) -> None:
    """It is paused, has its lanes changed when nobody runs them, and goes on."""
    assert run("subscriptions", "pause", "crm").out == "crm is paused\n"
    with full.store.writing() as connection:
        connection.execute(full.store.tables.lane.update().values(owner=None, expires_at=None))
    assert run("subscriptions", "relane", "crm", "4").out == "crm has 4 lanes now, 1 before\n"
    assert run("subscriptions", "resume", "crm").out == "crm goes on\n"

    [crm] = run("subscriptions", "list", "--json").data
    assert (crm["state"], crm["head"], crm["dead"]) == ("active", 4, 1)
    assert len(read_lanes(full.store)) == 4


def test_dead_letters_are_listed_and_sent_again(full: EventLog, run: Run) -> None:
    """They are found by a part of their error, in whatever letters."""
    [letter] = run("dead", "list", "--error", "keyerror", "--json").data
    assert (letter["position"], letter["error"]) == (1, "KeyError: 'a'")

    assert run("dead", "redrive", "--all", "--dry-run", "--json").data["total"] == 1
    assert run("dead", "redrive", "--all", "--yes").code == 0
    assert read_parked(full.store)[1].state in {"dead", "retry"}


def test_workers_are_listed(log: EventLog, run: Run) -> None:
    """With how many lanes each has."""
    roster = Roster(log.store, pid=4711)
    roster.enrol(["crm"])

    [worker] = run("workers", "list", "--json").data

    assert (worker["pid"], worker["lanes"], worker["alive"]) == (4711, 0, True)


def test_what_is_sent_is_stored_by_who_serves(
    environ: dict[str, str], log: EventLog, run: Run, tmp_path: Path
) -> None:
    """A file comes in over HTTP and is in the log when that is answered."""
    settings = '[sources.wa]\nadapter = "whatsapp"\napp_secrets = ["s3cret"]\n'
    (tmp_path / "router.toml").write_text(settings)
    with served(environ) as url:
        result = run("send", "-", "--source", "wa", "--url", url, stdin=b'{"messages": []}')

    assert (result.code, result.out) == (0, "200 OK\n")
    assert [event.notification.body for event in log.read()] == [b'{"messages": []}']


def test_a_worker_carries_out_a_replay(
    log: EventLog, run: Run, start: Start, tmp_path: Path
) -> None:
    """It has the lanes of its subscription, and whoever waits for the replay sees its end."""
    append_messages(log, ["ana", "ben", "ana"])
    (tmp_path / "crm.py").write_text(HANDLERS)
    with start("worker", "--plugins-dir", ".") as worker:
        while not {lane.owner for lane in read_lanes(log.store)} - {None}:
            assert worker.poll() is None
        replay = ("replay", "start", "crm", "--from", "1", "--reason", "repair")
        waited = run(*replay, "--yes", "--wait", "--json")
        [one] = run("workers", "list", "--json").data
        worker.terminate()
        handled, _told = worker.communicate()
        assert worker.returncode == 0

    assert waited.code == 0
    assert (json.loads(waited.out)["data"]["done"], one["lanes"]) == (3, 8)
    assert sorted(map(int, handled.split())) == [1, 2, 3]
    assert run("workers", "list").out == ""
