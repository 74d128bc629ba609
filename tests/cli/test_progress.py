"""Tests of `router.cli.progress`: a replay is followed to its end."""

import io
import sys

import pytest

from router.cli.progress import follow
from router.log import EventLog
from router.replay import Replays
from tests.entries import append_messages
from tests.histories import end_replay, start_replay, subscribe


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """A log with two events and a subscription."""
    append_messages(log, ["ana", "ben"])
    subscribe(log)
    return log


def test_a_replay_is_looked_at_until_it_has_ended(
    full: EventLog, capsys: pytest.CaptureFixture[str]
) -> None:
    """However long nobody carries it out, it is waited for; in the end one line tells of it."""
    started = start_replay(full)
    pauses = 0

    def sleep(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 3:
            end_replay(full, failed=1)

    ended = follow(full, started, sleep=sleep, clock=lambda: 0.0)

    assert (ended.state, ended.done, ended.failed, pauses) == ("done", 1, 1, 3)
    assert capsys.readouterr().err == "replay 1 done: 1 done, 1 failed of 2\n"


@pytest.mark.parametrize("state", ["failed", "cancelled"])
def test_any_end_is_an_end(full: EventLog, state: str) -> None:
    """What was broken off is not waited for."""
    started = start_replay(full)

    def sleep(_seconds: float) -> None:
        with full.store.writing() as connection:
            connection.execute(full.store.tables.replay.update().values(state=state))

    assert follow(full, started, sleep=sleep, clock=lambda: 0.0).state == state


def test_whoever_leaves_leaves_it_running(
    full: EventLog, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends the waiting alone, and says how to look at the replay later."""
    started = start_replay(full)

    def sleep(_seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        follow(full, started, sleep=sleep, clock=lambda: 0.0)

    assert "Replay 1 goes on: router replay show 1" in capsys.readouterr().err
    assert Replays(full).find(1).state == "planned"


class Terminal(io.StringIO):
    """A stderr that somebody watches."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_a_terminal_sees_the_counts_move(full: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal one line is written over and over, without escape codes."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)

    follow(full, start_replay(full), sleep=lambda _: end_replay(full), clock=lambda: 0.0)

    planned, done = (
        "replay 1 planned: 0 done, 0 failed of 2  [--------------------]",
        "replay 1 done: 2 done, 0 failed of 2",
    )
    assert terminal.getvalue() == f"\r{planned}\r{done:<{len(planned)}}\n"
