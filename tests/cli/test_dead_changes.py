"""Tests of `router dead redrive` and `router dead discard`: chosen, counted, asked about, done."""

import pytest
from sqlalchemy import update

from router.intents import Intents
from router.log import EventLog
from tests.cli.conftest import Run
from tests.entries import append, append_messages, make_entry
from tests.histories import park, subscribe
from tests.records import read_checkpoint, read_parked

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

COMMANDS = ("redrive", "discard")


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """Dead letters of crm, which a worker runs, at 1 to 3 and 5; one of mail; one of a replay."""
    append_messages(log, ["ana", "ben", "cem", "dee"])
    append(log, make_entry("ana", "sent"))
    for name in ("crm", "mail"):
        subscribe(log, name)
    for position in (1, 2, 3, 5):
        park(log, position, error=f"ValueError: {position % 2}")
    park(log, 4, next_at=1)
    park(log, 1, name="mail")
    park(log, 1, run=7)
    return log


def states(log: EventLog, name: str = "crm") -> dict[int, str]:
    """Return the state of each parked delivery of a subscription."""
    return {position: row.state for position, row in read_parked(log.store, name).items()}


def free(log: EventLog) -> None:
    """Let no worker run anything."""
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.lane).values(owner=None, expires_at=None))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_dry_run_counts(full: EventLog, run: Run, command: str) -> None:
    """Exactly what would be changed, by type; nothing is."""
    before = states(full)

    counted = run("dead", command, "--all", "--dry-run", "--json").data
    some = run("dead", command, "--error", "error: 1", "--subscription", "crm", "--dry-run").out

    assert counted == {"total": 5, "by_type": {"message": 4, "sent": 1}}
    assert some.startswith("3 dead letters would be ")
    assert some.splitlines()[1:] == ["TYPE     DEAD LETTERS", "message  2", "sent     1"]
    assert states(full) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_is_changed_without_a_choice(full: EventLog, run: Run, command: str) -> None:
    """Neither a filter nor --all: exit 2, also for a dry run, and a word on both."""
    for options in (["--yes"], ["--dry-run"], ["--yes", "--error", ""]):
        result = run("dead", command, *options)
        assert (result.code, result.out) == (2, "")
        assert "give a filter, or --all" in result.err
    assert states(full)[1] == "dead"


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_terminal_nothing_is_changed(full: EventLog, run: Run, command: str) -> None:
    """It exits 2, with the exact count in its question."""
    before = states(full)

    result = run("dead", command, "--all", stdin=b"y\n")

    assert (result.code, result.out) == (2, "")
    assert f"{command.capitalize()} 5 dead letters" in result.err
    assert states(full) == before
    assert Intents(full.store).find(["crm", "mail"]) == []


def test_a_filter_is_all_that_is_redriven(full: EventLog, run: Run) -> None:
    """What matches is tried again, everything else stays, and so do the checkpoints."""
    free(full)

    result = run("dead", "redrive", "--position", "1", "--position", "5", "--type", "sent", "--yes")

    assert (result.code, result.out.splitlines()[0]) == (0, "1 dead letter redriven")
    assert "No worker runs them now" in result.err
    assert states(full) == {1: "dead", 2: "dead", 3: "dead", 4: "retry", 5: "retry"}
    assert states(full, "mail") == {1: "dead"}
    assert read_checkpoint(full.store) == 0


def test_all_of_live_delivery_is_discarded(full: EventLog, run: Run) -> None:
    """--all is of every subscription; what waits for an attempt, and a replay's, stay."""
    free(full)

    result = run("dead", "discard", "--all", "--yes", "--json")

    assert result.data == {"total": 5, "by_type": {"message": 4, "sent": 1}}
    assert result.err == "It is done.\n"
    assert (states(full), states(full, "mail")) == ({4: "retry"}, {})
    assert run("dead", "discard", "--replay", "7", "--yes").out.startswith(
        "1 dead letter discarded"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_a_worker_is_left_to_carry_it_out(full: EventLog, run: Run, command: str) -> None:
    """Where one runs the lanes, the command says so, and takes nothing twice."""
    result = run("dead", command, "--subscription", "crm", "--yes")

    assert (result.code, states(full)[1]) == (0, "dead")
    assert "within about a second" in result.err
    again = run("dead", command, "--subscription", "crm", "--yes")
    assert (again.code, again.err) == (0, "There are no such dead letters.\n")


@pytest.mark.parametrize("command", COMMANDS)
def test_nothing_that_matches_is_no_failure(full: EventLog, run: Run, command: str) -> None:
    """It says so, without a question, and exits 0."""
    result = run("dead", command, "--type", "read", "--json")

    assert (result.code, result.data) == (0, {"total": 0, "by_type": {}})
    assert result.err == "There are no such dead letters.\n"


def test_whoever_agrees_gets_it_done(full: EventLog, on_terminal: Run) -> None:
    """The question is asked on a terminal."""
    free(full)

    result = on_terminal("dead", "discard", "--subscription", "crm", typed="y\n")

    assert (result.code, states(full)) == (0, {4: "retry"})
    assert "Discard 4 dead letters for good? [y/N]" in result.out


def test_what_a_dead_worker_was_asked_is_done_with_the_next_command(
    full: EventLog, run: Run
) -> None:
    """Dead letters do not stay for ever because the worker that was to discard them is gone."""
    run("dead", "discard", "--subscription", "crm", "--yes")
    free(full)

    run("dead", "discard", "--subscription", "crm", "--dry-run")
    assert states(full)[1] == "dead"
    run("dead", "discard", "--subscription", "crm", "--yes")
    assert states(full) == {4: "retry"}
