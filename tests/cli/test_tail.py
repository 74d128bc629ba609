"""Tests of `router events tail`: events are printed as they come in, until somebody leaves."""

import json
import signal
from itertools import islice

import pytest

from router.cli.tail import find_start, follow
from router.filters import Filter
from router.log import EventLog
from tests.cli.conftest import Start
from tests.entries import NOON, append, append_messages, make_entry

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")


def test_events_are_followed_as_they_come(log: EventLog) -> None:
    """What is in the log comes first; then the log is looked at again and again."""
    append_messages(log, ["ana", "ben", "cem"])
    pauses = 0

    def sleep(_seconds: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses > 1:
            append_messages(log, ["dee"])

    found = follow(log, after=1, matching=Filter(), sleep=sleep)

    assert [event.position for event in islice(found, 4)] == [2, 3, 4, 5]
    assert pauses == 3


def test_a_start_ahead_of_the_log_is_waited_for(log: EventLog) -> None:
    """Nothing up to the position asked for is shown, even if it comes only later."""
    append_messages(log, ["ana"])

    def sleep(_seconds: float) -> None:
        append_messages(log, ["ben"])

    assert next(follow(log, after=3, matching=Filter(), sleep=sleep)).position == 4


def test_what_does_not_match_is_passed_by(log: EventLog) -> None:
    """A filter holds for what comes later, too."""

    def sleep(_seconds: float) -> None:
        append(log, make_entry(), make_entry("ana", "read"))

    found = follow(log, after=0, matching=Filter(types=("read",)), sleep=sleep)

    assert [event.position for event in islice(found, 2)] == [2, 4]


def test_it_begins_at_the_end_or_further_back(log: EventLog) -> None:
    """A position says where; a time says that what is in the log already is wanted, too."""
    append_messages(log, ["ana", "ben"])

    assert find_start(log, after=None, matching=Filter()) == 2
    assert find_start(log, after=0, matching=Filter()) == 0
    assert find_start(log, after=None, matching=Filter(since=NOON)) == 0
    assert find_start(log, after=1, matching=Filter(since=NOON)) == 1


def test_it_follows_until_ctrl_c(log: EventLog, start: Start) -> None:
    """It begins at the end, prints each new event at once, and is left with exit code 0."""
    append_messages(log, ["ana"])

    with start("events", "tail", "--json") as process:
        assert process.stderr.readline() == "Events behind position 1; Ctrl-C ends.\n"
        append_messages(log, ["ben"])
        assert json.loads(process.stdout.readline())["position"] == 2
        append_messages(log, ["cem"])
        assert json.loads(process.stdout.readline())["position"] == 3

        process.send_signal(signal.SIGINT)
        assert (process.wait(), process.stdout.read(), process.stderr.read()) == (0, "", "")


def test_it_can_be_stopped_by_others(log: EventLog, start: Start) -> None:
    """SIGTERM is a way to leave, too; a person gets one line an event."""
    append_messages(log, ["ana", "ben"])

    with start("events", "tail", "--after", "1") as process:
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert (process.wait(), process.stdout.read()) == (0, "")

    assert line.startswith("2  2026-01-01T12:00:00Z  message/text  wa  :ben  ")
