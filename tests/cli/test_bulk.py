"""Tests of `router.cli.bulk`: nothing happens to many rows unless somebody agreed."""

import pytest

from router.log import EventLog
from tests.cli.conftest import Run
from tests.entries import append, make_entry

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

PRUNE = ("db", "prune", "--older-than", "0s")


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """A log of two events, both old enough to be deleted."""
    append(log, make_entry(), make_entry())
    return log


def test_without_a_terminal_nothing_is_changed(full: EventLog, run: Run) -> None:
    """It exits 2, says the exact count and how to agree."""
    result = run(*PRUNE, stdin=b"y\n")

    assert (result.code, result.out) == (2, "")
    assert "Delete 2 events" in result.err
    assert "add --yes" in result.err
    assert len(list(full.read())) == 2


def test_yes_agrees(full: EventLog, run: Run) -> None:
    """With --yes nobody is asked."""
    result = run(*PRUNE, "--yes")

    assert (result.code, "[y/N]" in result.err) == (0, False)
    assert list(full.read()) == []


@pytest.mark.parametrize("typed", ["\n", "yeah\n", "\x04"])
def test_whoever_does_not_agree_changes_nothing(
    full: EventLog, on_terminal: Run, typed: str
) -> None:
    """Anything but yes, and the end of input, is a no: exit 1."""
    result = on_terminal(*PRUNE, typed=typed)

    assert result.code == 1
    assert "Delete 2 events" in result.out
    assert "Nothing was changed." in result.out
    assert len(list(full.read())) == 2


def test_whoever_agrees_gets_it_done(full: EventLog, on_terminal: Run) -> None:
    """The question is asked on a terminal, and yes is yes."""
    result = on_terminal(*PRUNE, typed="YES\n")

    assert result.code == 0
    assert list(full.read()) == []
