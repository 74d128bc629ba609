"""Tests of `router.cli.control`: what an operator does to a subscription at the command line."""

import pytest

from router.cli.control import PATIENCE, wait_for_rest
from router.control import Control
from router.errors import RouterError
from router.lane import Lane
from router.lanes import Lanes
from router.log import EventLog
from router.status import Status
from tests.cli.conftest import Run
from tests.entries import append, append_messages, make_entry
from tests.histories import park, subscribe
from tests.records import read_checkpoint, read_lanes

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")


def give_back(log: EventLog, lane: Lane) -> None:
    """Do what a worker does with a lane of a paused subscription."""
    Lanes(log.store, worker="w").release(lane)


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """Four events, and a subscription to them that nobody runs; the first is a dead letter."""
    append_messages(log, ["ana", "ben", "cem"])
    append(log, make_entry("dee", "read"))
    [lane] = subscribe(log)
    give_back(log, lane)
    park(log, 1)
    park(log, 2, next_at=1)
    return log


def test_one_line_says_what_was_done(full: EventLog, run: Run) -> None:
    """And another one, where it was so already."""
    for command, said in (
        (("pause", "crm", "--reason", "a deploy", "--wait"), "crm is paused"),
        (("pause", "crm"), "crm was paused already"),
        (("resume", "crm"), "crm goes on"),
        (("resume", "crm"), "crm was not paused"),
        (("relane", "crm", "4"), "crm has 4 lanes now, 1 before"),
        (("relane", "crm", "4"), "crm has 4 lanes already"),
        (("rename", "crm", "sales"), "crm is sales now"),
    ):
        result = run("subscriptions", *command)
        assert (result.code, result.out, result.err) == (0, f"{said}\n", "")
    shown = run("subscriptions", "show", "sales", "--json").data
    assert (shown["lanes"], shown["dead"], shown["retrying"]) == (4, 1, 1)


@pytest.mark.parametrize(
    "command",
    [("rename", "crm", "sales"), ("relane", "crm", "2"), ("forget", "crm", "--yes")],
)
def test_what_needs_rest_fails_while_a_worker_runs(
    log: EventLog, run: Run, command: tuple[str, ...]
) -> None:
    """It exits 1 with the command that helps; that one says that it takes a moment."""
    subscribe(log)

    result = run("subscriptions", *command)
    assert (result.code, result.out) == (1, "")
    assert "router subscriptions pause crm" in result.err
    assert "--wait" in run("subscriptions", "pause", "crm").err
    assert "try again in a moment" in run("subscriptions", *command).err


def test_a_wait_ends_with_the_last_call(log: EventLog) -> None:
    """When the lane is given back; or, bounded, with a failure that says what goes on."""
    [lane] = subscribe(log)
    control, naps = Control(log.store), 0.0

    def sleep(seconds: float) -> None:
        nonlocal naps
        naps += seconds
        Lanes(log.store, worker="w").release(lane)

    with pytest.raises(RouterError, match="a call still goes on"):
        wait_for_rest(
            control, "crm", clock=iter([0, PATIENCE - 1, PATIENCE]).__next__, sleep=lambda _: None
        )
    wait_for_rest(control, "crm", clock=lambda: 0.0, sleep=sleep)
    assert naps > 0


def test_a_skip_is_counted_before_it_is_done(full: EventLog, run: Run) -> None:
    """A dry run counts by type; without --yes and a terminal it exits 2; neither changes any."""
    dry = run("subscriptions", "skip", "crm", "--to-head", "--dry-run", "--json")
    assert dry.data == {
        "total": 4,
        "by_type": {"message": 3, "read": 1},
        "retries": 1,
        "position": 4,
    }
    refused = run("subscriptions", "skip", "crm", "--to-head")
    assert (refused.code, refused.out) == (2, "")
    assert "Skip 4 events and drop 1 retries" in refused.err
    assert read_checkpoint(full.store) == 0

    result = run("subscriptions", "skip", "crm", "--to", "2", "--yes")
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("2 events and 1 retries of crm skipped, up to position 2\n")
    assert read_checkpoint(full.store) == 2


def test_a_skip_to_what_is_settled_has_nothing_to_do(full: EventLog, run: Run) -> None:
    """It succeeds and says so; beyond the head it fails; without an aim it is no command."""
    run("subscriptions", "skip", "crm", "--to", "3", "--yes")

    result = run("subscriptions", "skip", "crm", "--to", "2")
    assert result.code == 0
    assert "Nothing to do: crm has come to position 3 already." in result.err
    assert run("subscriptions", "skip", "crm", "--to", "5", "--yes").code == 1
    assert run("subscriptions", "skip", "crm", "--yes").code == 2
    assert run("subscriptions", "skip", "crm", "--to", "4", "--to-head", "--yes").code == 2
    assert read_checkpoint(full.store) == 3


def test_a_skip_that_a_worker_carries_out_says_so(log: EventLog, run: Run) -> None:
    """The count is told at once, the rest on stderr."""
    append_messages(log, ["ana"])
    subscribe(log)

    result = run("subscriptions", "skip", "crm", "--to-head", "--yes", "--json")

    assert (result.code, result.data["total"]) == (0, 1)
    assert "Its worker carries it out in a moment." in result.err


def test_whoever_forgets_is_told_what_goes(full: EventLog, run: Run) -> None:
    """Counts first; without --yes and a terminal it exits 2, and nothing is deleted."""
    counts = {"dead": 1, "retries": 1, "replays": 0, "lag": 4}
    dry = run("subscriptions", "forget", "crm", "--dry-run", "--json")
    assert dry.data == {"total": 2, "by_type": {"message": 2}, **counts}
    refused = run("subscriptions", "forget", "crm")
    assert (refused.code, refused.out) == (2, "")
    assert "4 positions behind, with 1 dead letters, 1 retries" in refused.err
    assert len(read_lanes(full.store)) == 1

    result = run("subscriptions", "forget", "crm", "--yes")
    assert (result.code, result.out.split(":")[0]) == (0, "crm forgotten")
    assert "born anew" in result.err
    assert Status(full.store).subscriptions() == []
