"""Tests of `router workers`: the processes that deliver."""

import pytest

from router.log import EventLog
from router.roster import Roster
from tests.cli.conftest import Run

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")


def test_workers_are_listed(log: EventLog, run: Run) -> None:
    """Each has its machine, process, times and number of lanes."""
    Roster(log.store, pid=4711).enrol(["crm", "audit"])

    result = run("workers", "list", "--json")

    assert result.code == 0
    [worker] = result.data
    assert list(worker) == ["id", "host", "pid", "started_at", "seen_at", "lanes", "alive", "owned"]
    assert (worker["pid"], worker["lanes"], worker["alive"]) == (4711, 0, True)
    assert worker["seen_at"].endswith("Z")
    assert run("workers", "list").out.splitlines()[1].split()[2] == "4711"


def test_workers_come_in_pages(log: EventLog, run: Run) -> None:
    """The cursor of one page begins the next."""
    for pid in range(3):
        Roster(log.store, pid=pid).enrol(["crm", "audit"])

    first = run("workers", "list", "--json", "--limit", "2")
    second = run("workers", "list", "--json", "--cursor", first.json["next_cursor"])

    assert {one["pid"] for one in first.data + second.data} == {0, 1, 2}
    assert (len(second.data), second.json["next_cursor"]) == (1, None)


def test_nobody_at_work_is_an_empty_list(run: Run) -> None:
    """A person is told how to start one."""
    result = run("workers", "list")

    assert (result.code, result.out) == (0, "")
    assert "`router worker`" in result.err
