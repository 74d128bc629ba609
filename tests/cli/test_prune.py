"""Tests of `router db prune`: old events are counted, and deleted when somebody agrees."""

import pytest

from router.log import EventLog
from tests.cli.conftest import Run
from tests.entries import append, make_entry
from tests.histories import settle, subscribe

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """A log of three old events; the subscription has come to the third."""
    append(log, make_entry(), make_entry("ana", "sent"), make_entry())
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=3)
    return log


def positions(log: EventLog) -> list[int]:
    """Return the positions that can be read."""
    return [event.position for event in log.read()]


def test_a_dry_run_counts(full: EventLog, run: Run) -> None:
    """It tells in all and by type, asks nobody, and changes nothing."""
    result = run("db", "prune", "--older-than", "1d", "--dry-run", "--json")

    assert (result.code, result.err) == (0, "")
    assert result.data == {"total": 2, "by_type": {"message": 1, "sent": 1}}
    assert positions(full) == [1, 2, 3]

    shown = run("db", "prune", "--older-than", "1d", "--dry-run").out
    assert shown == "2 events would be deleted\nTYPE     EVENTS\nmessage  1\nsent     1\n"


def test_what_was_counted_is_deleted(full: EventLog, run: Run) -> None:
    """What a subscription still needs stays, and the counts are those of the dry run."""
    result = run("db", "prune", "--older-than", "1d", "--yes", "--json")

    assert result.data == {"total": 2, "by_type": {"message": 1, "sent": 1}}
    assert positions(full) == [3]
    assert full.head() == 3


def test_what_is_young_stays(full: EventLog, run: Run) -> None:
    """Where nothing is old enough nobody is asked."""
    result = run("db", "prune", "--older-than", "36500d")

    assert (result.code, result.out) == (0, "0 events deleted\n")
    assert result.err.startswith("No event received before ")
    assert positions(full) == [1, 2, 3]


@pytest.mark.parametrize("options", [[], ["--older-than", "90"], ["--older-than", "-1d"]])
def test_an_age_is_needed(full: EventLog, run: Run, options: list[str]) -> None:
    """Without one, or with one that is none, it exits 2."""
    result = run("db", "prune", *options, "--yes")

    assert (result.code, "--older-than" in result.err) == (2, True)
    assert positions(full) == [1, 2, 3]
