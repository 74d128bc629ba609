"""Tests of `router replay start`: single events, new plugins, and what is asked and said before."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import func, select

from router.cli import main
from router.log import EventLog
from router.replay import Replays
from tests.cli.conftest import Run
from tests.entries import append, make_entry
from tests.histories import start_replay, subscribe

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

POLICIES = {"message": "allow", "sent": "skip"}
START = ("replay", "start", "crm")
NEW = (*START, "--new", "--plugins-dir", ".")

HANDLERS = """
from router import hookimpl

@hookimpl(replay="allow")
def on_message(event):
    pass

@hookimpl
def on_sent(event):
    pass
"""


@pytest.fixture
def filled(log: EventLog, tmp_path: Path) -> EventLog:
    """Three messages and a sent, and a plugin crm that has never run."""
    append(log, make_entry(), make_entry("ben"), make_entry("ana", "sent"), make_entry())
    (tmp_path / "crm.py").write_text(HANDLERS)
    return log


@pytest.fixture
def full(filled: EventLog) -> EventLog:
    """The same, with a subscription that has run."""
    subscribe(filled, policies=POLICIES)
    return filled


def count_rows(log: EventLog) -> dict[str, int]:
    """Return how many rows each table has that has any."""
    counts = {}
    with log.store.reading() as connection:
        for name, table in log.store.tables.metadata.tables.items():
            counts[name] = connection.scalars(select(func.count()).select_from(table)).one()
    return {name: count for name, count in counts.items() if count}


# Single events.


def test_single_events_are_chosen(full: EventLog, run: Run) -> None:
    """By position or id, each once however often it is named."""
    second = full.find("2").id

    named = ("--event", "1", "--event", second, "--event", "2", "--event", "3")
    result = run(*START, *named, "--dry-run", "--json")
    started = run(*START, *named, "--yes", "--json")

    assert result.data["by_type"] == {"message": 2, "sent": 1}
    assert (started.code, started.data["total"]) == (0, 2)
    ids = Replays(full).find(1).matching.ids
    assert ids == tuple(full.find(position).id for position in ("1", "2", "3"))


@pytest.mark.parametrize("name", ["5", "00000000-0000-8000-8000-000000000000", "first"])
def test_an_unknown_event_is_a_failure(full: EventLog, run: Run, name: str) -> None:
    """Though the others are known; nothing is started."""
    result = run(*START, "--event", "1", "--event", name, "--yes")

    assert (result.code, result.out) == (1, "")
    assert name in result.err
    assert Replays(full).list(limit=9) == []


# Plugins that have not run.


def test_a_plugin_that_never_ran_is_given_history(filled: EventLog, run: Run) -> None:
    """It is loaded to look; written down is the replay alone: it is born when a worker runs it."""
    before = count_rows(filled)

    result = run(*NEW, "--yes", "--json")

    assert (result.code, result.data["total"], result.data["state"]) == (0, 3, "planned")
    assert count_rows(filled) == before | {"replay": 1, "audit": 1}
    assert Replays(filled).find(1).by_type == {"sent": {"skipped": 1}}


def test_a_plugin_that_never_ran_may_be_looked_at(filled: EventLog, run: Run) -> None:
    """A dry run writes nothing."""
    before = count_rows(filled)

    result = run(*NEW, "--dry-run", "--json")

    assert (result.code, result.data["by_type"]) == (0, {"message": 3, "sent": 1})
    assert count_rows(filled) == before


def test_without_new_a_plugin_that_never_ran_is_unknown(filled: EventLog, run: Run) -> None:
    """The failure names what helps."""
    result = run(*START, "--plugins-dir", ".", "--yes")

    assert (result.code, result.out) == (1, "")
    assert "there is no subscription 'crm' (known: none)" in result.err
    assert "add --new" in result.err


def test_an_unknown_plugin_is_a_failure(filled: EventLog, run: Run) -> None:
    """The failure names those that there are."""
    result = run("replay", "start", "crn", "--new", "--plugins-dir", ".", "--yes")

    assert (result.code, result.out) == (1, "")
    assert "there is no plugin 'crn' that handles events (loaded: crm)" in result.err
    assert "`router plugins list`" in result.err


def test_with_new_the_plugin_at_hand_counts(full: EventLog, run: Run) -> None:
    """What has run before may have changed; without --new it is what the last worker saw."""
    (Path.cwd() / "crm.py").write_text(HANDLERS.replace("on_sent", "on_read"))

    assert run(*NEW, "--dry-run", "--json").data["by_type"] == {"message": 3}
    old = run(*START, "--dry-run", "--json")
    assert old.data["by_type"] == {"message": 3, "sent": 1}


def test_a_broken_plugin_is_a_failure(filled: EventLog, run: Run, tmp_path: Path) -> None:
    """It cannot be looked at."""
    (tmp_path / "crm.py").write_text("import nothing_of_that_name")

    result = run(*NEW, "--yes")

    assert (result.code, "nothing_of_that_name" in result.err) == (1, True)
    assert Replays(filled).list(limit=9) == []


# How many at a time.


def test_a_replay_may_have_a_concurrency(full: EventLog, run: Run) -> None:
    """It is on record with it; without the option it is the subscription's."""
    run(*START, "--yes", "--concurrency", "7")
    run(*START, "--yes")

    assert [Replays(full).find(number).concurrency for number in (1, 2)] == [7, None]
    assert run("replay", "show", "1", "--json").data["concurrency"] == 7


@pytest.mark.parametrize("number", ["0", "-1", "2.5", "many", "10001"])
def test_a_concurrency_is_a_number_of_calls(full: EventLog, run: Run, number: str) -> None:
    """Anything else is a usage error."""
    result = run(*START, "--yes", "--concurrency", number)

    assert (result.code, "'--concurrency'" in result.err) == (2, True)


# What is said and asked before.


def test_a_dry_run_says_what_may_have_effects(full: EventLog, run: Run) -> None:
    """How many events would be skipped for that, and how many called in spite of it."""
    skipping = run(*START, "--dry-run")
    calling = run(*START, "--dry-run", "--include-effects")

    assert "1 events would be skipped" in skipping.err
    assert "--include-effects calls them" in skipping.err
    assert calling.err == "1 of the events may have effects outside the database.\n"
    assert run(*START, "--dry-run", "--type", "message").err == ""


def test_replays_that_share_events_are_named(full: EventLog, run: Run) -> None:
    """As long as they have not ended, and only where ranges overlap."""
    start_replay(full)
    start_replay(full, first=3)

    result = run(*START, "--to", "3", "--yes")

    assert result.code == 0
    assert "Replay 1 of crm has not ended and shares events." in result.err
    assert "Replay 2" not in result.err


SECOND = (
    "1 of them are for handlers that may have effects outside the database, such as messages that "
    "are sent again. Call these handlers? [y/N]"
)


class Keyboard(io.StringIO):
    """A stdin at which somebody sits, who types this."""

    def isatty(self) -> bool:
        """Say so."""
        return True


@pytest.fixture
def answer(
    full: EventLog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """Starts a replay that is asked about; gives the exit code, and what was told."""

    def answer(typed: str, *options: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "stdin", Keyboard(typed))
        with pytest.raises(SystemExit) as stopped:
            main([*START, *options])
        assert isinstance(stopped.value.code, int)
        return stopped.value.code, capsys.readouterr().err

    return answer


@pytest.mark.parametrize(("typed", "code"), [("y\ny\n", 0), ("y\nn\n", 1), ("n\ny\n", 1)])
@pytest.mark.usefixtures("environ")
def test_effects_are_asked_about_by_themselves(
    full: EventLog, answer: Callable[..., tuple[int, str]], typed: str, code: int
) -> None:
    """Who wants them says so twice; any no is a no."""
    found, told = answer(typed, "--include-effects")

    assert found == code
    assert "Replay 4 events to 'crm'? [y/N]" in told
    assert (SECOND in told) == typed.startswith("y")
    assert len(Replays(full).list(limit=9)) == (code == 0)


@pytest.mark.usefixtures("environ")
def test_without_effects_it_is_asked_once(answer: Callable[..., tuple[int, str]]) -> None:
    """Also where the option is given, but no event is for such a handler."""
    code, told = answer("y\n", "--include-effects", "--type", "message")

    assert (code, told.count("[y/N]")) == (0, 1)


def test_both_questions_are_asked_on_a_terminal(full: EventLog, on_terminal: Run) -> None:
    """One after the other; then it is started."""
    result = on_terminal(*START, "--include-effects", typed="y\ny\n")

    assert (result.code, result.out.count("[y/N]")) == (0, 2)
    assert Replays(full).find(1).include_effects
