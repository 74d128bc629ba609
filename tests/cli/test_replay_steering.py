"""Tests of `router replay pause`, `resume`, `cancel` and `show --follow`."""

import sys
from types import SimpleNamespace

import pytest
from sqlalchemy import select

from router.log import EventLog
from router.replay import Replays
from tests.cli.conftest import Run
from tests.entries import append_messages
from tests.histories import end_replay, start_replay, subscribe

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """A replay of three messages that is planned."""
    append_messages(log, ["ana", "ben", "cem"])
    subscribe(log)
    start_replay(log)
    return log


def test_one_line_says_what_was_done(full: EventLog, run: Run) -> None:
    """And another one, where it was so already."""
    for command, said in (
        ("pause", "replay 1 is paused"),
        ("pause", "replay 1 was paused already"),
        ("resume", "replay 1 goes on"),
        ("resume", "replay 1 was not paused"),
        ("cancel", "replay 1 is cancelled after 0 of 3 events"),
    ):
        result = run("replay", command, "1", "--reason", f"{command} it")
        assert (result.code, result.out) == (0, f"{said}\n")
        assert ("Calls under way end as ever" in result.err) == (command == "cancel")
    assert Replays(full).find(1).state == "cancelled"


def test_who_did_it_and_why_is_on_record(full: EventLog, run: Run) -> None:
    """The reason may be left out."""
    run("replay", "pause", "1", "--reason", "too loud")
    run("replay", "cancel", "1")
    table = full.store.tables.audit
    with full.store.reading() as connection:
        _, pause, cancel = connection.execute(select(table).order_by(table.c.id)).all()
    assert (pause.action, cancel.action) == ("replay pause", "replay cancel")
    assert "@" in pause.actor
    assert '"reason": "too loud"' in pause.detail
    assert '"reason": ""' in cancel.detail


@pytest.mark.parametrize("command", ["pause", "resume", "cancel"])
def test_what_cannot_be_is_a_failure(full: EventLog, run: Run, command: str) -> None:
    """A replay that has ended, or that there is not: exit 1; what is no id: exit 2."""
    end_replay(full)
    ended = run("replay", command, "1")
    assert (ended.code, ended.out) == (1, "")
    assert f"replay 1 is done: there is nothing to {command}" in ended.err
    unknown = run("replay", command, "9")
    assert (unknown.code, "`router replay list`" in unknown.err) == (1, True)
    assert run("replay", command, "first").code == 2


def test_a_replay_is_followed_to_its_end(
    full: EventLog, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end is told on stderr, its last state on stdout; it exits 1 if anything failed."""
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            end_replay(full, failed=1)

    clock = SimpleNamespace(sleep=sleep, monotonic=lambda: 0.0)
    monkeypatch.setattr(sys.modules["router.cli.replay"], "time", clock)  # not the group

    result = run("replay", "show", "1", "--follow", "--json")

    assert (result.code, len(naps)) == (1, 2)
    assert (result.data["state"], result.data["done"], result.data["failed"]) == ("done", 2, 1)
    assert result.err == "replay 1 done: 2 done, 1 failed of 3\n"


@pytest.mark.parametrize(("is_cancelled", "code"), [(False, 0), (True, 1)])
def test_what_has_ended_is_not_waited_for(
    full: EventLog, run: Run, *, is_cancelled: bool, code: int
) -> None:
    """Only a replay that was done without a failure is a success."""
    if is_cancelled:
        Replays(full).cancel(1, actor="ana")
    else:
        end_replay(full)
    result = run("replay", "show", "1", "--follow")
    assert (result.code, result.out) == (code, run("replay", "show", "1").out)
    assert result.err.startswith(f"replay 1 {'cancelled' if is_cancelled else 'done'}: ")


def test_why_a_replay_failed_is_told(full: EventLog, run: Run) -> None:
    """It stands behind the counts."""
    with full.store.writing() as connection:
        values = {"state": "failed", "last_error": "the plugin has changed"}
        connection.execute(full.store.tables.replay.update().values(**values))
    result = run("replay", "show", "1", "--follow")
    assert result.code == 1
    assert result.err == "replay 1 failed: 0 done, 0 failed of 3 (the plugin has changed)\n"
