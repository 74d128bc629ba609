"""Tests of `router.cli.progress`: a replay is followed to its end."""

import io
import sys

import pytest
from sqlalchemy import update

from router.cli.progress import PATIENCE, POLL, follow
from router.log import EventLog
from router.replay import Replays
from tests.entries import append_messages
from tests.histories import end_replay, start_replay, subscribe
from tests.owners import set_state

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")


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


def set_replay(log: EventLog, **values: object) -> None:
    """Let the replay stand like this."""
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.replay).values(**values))


def watch(log: EventLog, monkeypatch: pytest.MonkeyPatch, *, total: int, each: int) -> list[str]:
    """Return what a terminal shows of a replay of ``total`` that does ``each`` between looks."""
    terminal, looks = Terminal(), 0
    monkeypatch.setattr(sys, "stderr", terminal)
    started = start_replay(log)

    def sleep(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        state = "done" if looks == 3 else "running"
        set_replay(log, state=state, total=total, done=min(looks * each, total))

    follow(log, started, sleep=sleep, clock=lambda: looks * POLL)
    return [line.split(": ", 1)[1].strip() for line in terminal.getvalue().split("\r")[2:]]


@pytest.mark.parametrize(
    ("total", "each", "shown"),
    [
        (
            1_000,
            100,
            ["[##------------------] 200/s, 4 s left", "[####----------------] 200/s, 4 s left"],
        ),
        (100_000, 400, ["[--------------------] 800/s, 2 min 4 s left"]),
        (5_600, 1, ["[--------------------] 2/s, 46 min 40 s left"]),
        (7_800, 1, ["[--------------------] 2/s, 1 h 5 min left"]),
        (1_000, 0, ["[--------------------]"]),
        (2, 1, ["[##########----------] 2/s, 0 s left"]),
        (0, 0, ["[--------------------]"]),
    ],
)
def test_a_terminal_sees_how_fast_it_goes(
    full: EventLog, monkeypatch: pytest.MonkeyPatch, total: int, each: int, shown: list[str]
) -> None:
    """A bar, and as soon as it gets on the speed and the time left; in the end the counts alone."""
    lines = watch(full, monkeypatch, total=total, each=each)
    found = [line.split("  ", 1)[1] for line in lines[:-1]]
    assert found[: len(shown)] == shown
    assert "[" not in lines[-1]


NO_WORKER = "No worker has taken it up: is `router serve` or `router worker` running, with crm?\n"
PAUSED = "crm is paused: router subscriptions resume crm\n"
HALTED = "Replay 1 is paused: router replay resume 1\n"


@pytest.mark.parametrize(
    ("state", "subscription", "why"),
    [
        ("planned", "active", NO_WORKER),
        ("planned", "missing", NO_WORKER),
        ("planned", None, NO_WORKER),
        ("planned", "paused", PAUSED),
        ("running", "paused", PAUSED),
        ("running", "active", ""),
        ("paused", "active", HALTED),
    ],
)
def test_who_waits_long_is_told_what_for(
    full: EventLog,
    capsys: pytest.CaptureFixture[str],
    state: str,
    subscription: str | None,
    why: str,
) -> None:
    """Once, after so many looks, or at once if it was paused; nothing where it goes on."""
    started, told = start_replay(full), []
    set_replay(full, state=state)
    if subscription is None:  # it was never run
        with full.store.writing() as connection:
            connection.execute(full.store.tables.subscription.delete())
    else:
        set_state(full.store, "crm", subscription)

    def sleep(_seconds: float) -> None:
        told.append(capsys.readouterr().err)
        if len(told) == 3 * PATIENCE:
            set_replay(full, state="cancelled")

    follow(full, started, sleep=sleep, clock=lambda: 0.0)

    at = 1 if why == HALTED else PATIENCE
    assert [index for index, text in enumerate(told) if text] == ([at] if why else [])
    assert "".join(told) == why


def test_a_note_has_a_line_of_its_own(full: EventLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal it stands below the counts, which go on below it."""
    terminal, looks = Terminal(), 0
    monkeypatch.setattr(sys, "stderr", terminal)
    started = start_replay(full)

    def sleep(_seconds: float) -> None:
        nonlocal looks
        looks += 1
        if looks > PATIENCE:
            set_replay(full, state="cancelled")

    follow(full, started, sleep=sleep, clock=lambda: 0.0)

    assert f"\n{NO_WORKER}\r" in terminal.getvalue()


def test_a_rebuild_that_waits_for_an_operator_is_not_waited_for(
    full: EventLog, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has paused itself, and says why."""
    started = start_replay(full)
    table = full.store.tables.replay

    def sleep(_seconds: float) -> None:
        with full.store.writing() as connection:
            connection.execute(table.update().values(state="paused", last_error="1 event failed"))

    assert follow(full, started, sleep=sleep, clock=lambda: 0.0).state == "paused"
    assert capsys.readouterr().err == "replay 1 paused: 0 done, 0 failed of 2 (1 event failed)\n"


def test_a_rebuild_may_go_on_beyond_its_plan(
    full: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the bar is full, and no time is left."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    started = start_replay(full)
    table = full.store.tables.replay
    ticks = iter(range(100))

    def sleep(_seconds: float) -> None:
        state = "running" if next(ticks) < 3 else "done"
        with full.store.writing() as connection:
            connection.execute(table.update().values(state=state, done=table.c.done + 3))

    follow(full, started, sleep=sleep, clock=lambda: float(next(ticks)))

    assert f"[{'#' * 20}] " in terminal.getvalue()
    assert "0 s left" in terminal.getvalue()
    assert "-1" not in terminal.getvalue()
