"""Tests of `router replay`: planned exactly, asked about, started, listed and followed."""

from pathlib import Path

import pytest
from sqlalchemy import func, select

from router.log import EventLog
from router.replay import Replays
from tests.cli.conftest import Run, Start
from tests.entries import NOON, append, make_entry
from tests.histories import end_replay, start_replay, subscribe

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

FIELDS = ["id", "subscription", "state", "from", "to", "total", "done", "failed", "rate"]
POLICIES = {"message": "allow", "sent": "skip", "error": "refuse"}


@pytest.fixture
def full(log: EventLog) -> EventLog:
    """Three messages, two of them of the 49, a sent, and a read that nobody handles."""
    append(
        log,
        make_entry(received_at=NOON),
        make_entry(channel="49"),
        make_entry("ana", "sent"),
        make_entry("ana", "read"),
        make_entry(channel="49"),
    )
    subscribe(log, policies=POLICIES)
    return log


def count_replays(log: EventLog) -> int:
    """Return how many replays are on record."""
    with log.store.reading() as connection:
        return connection.scalars(select(func.count()).select_from(log.store.tables.replay)).one()


def test_a_dry_run_counts(full: EventLog, run: Run) -> None:
    """It tells how many match, by type, and by what the policy will do with them."""
    result = run("replay", "start", "crm", "--dry-run", "--json")

    assert (result.code, result.err) == (0, "")
    assert result.data == {
        "total": 4,
        "by_type": {"message": 3, "sent": 1},
        "by_policy": {"allow": 3, "skip": 1, "refuse": 0},
    }
    assert count_replays(full) == 0


def test_a_person_sees_the_same_counts(full: EventLog, run: Run) -> None:
    """With the range that they are of."""
    assert run("replay", "start", "crm", "--dry-run", "--to", "5").out.splitlines() == [
        "2 events from 1 to before 5 would be replayed",
        "TYPE     EVENTS  POLICY",
        "message  2       allow",
        "sent     1       skip",
    ]


@pytest.mark.parametrize(
    ("options", "total"),
    [
        (["--from", "2"], 2),
        (["--from", "2", "--to", "5"], 1),
        (["--from", "0", "--to", "99"], 3),
        (["--channel", "49"], 2),
        (["--until", "2026-01-01T12:00:00Z"], 0),
        (["--since", "2026-01-01T12:00:00Z"], 3),
        (["--include-effects"], 4),
        (["--type", "sent", "--include-effects"], 1),
    ],
)
def test_a_range_and_a_filter_choose(
    full: EventLog, run: Run, options: list[str], total: int
) -> None:
    """The end is left out, and what is counted is what the replay then holds."""
    dry = run("replay", "start", "crm", "--dry-run", "--json", *options)
    started = run("replay", "start", "crm", "--yes", "--json", *options)

    assert (dry.data["by_policy"]["allow"], started.data["total"]) == (total, total)


def test_a_replay_is_started(full: EventLog, run: Run) -> None:
    """It is on record with reason, rate and who did it; the command returns at once."""
    options = ["--from", "2", "--rate", "50", "--reason", "CRM was down"]

    result = run("replay", "start", "crm", "--yes", "--json", *options)

    assert result.code == 0
    assert result.data == {
        "id": 1,
        "subscription": "crm",
        "state": "planned",
        "from": 2,
        "to": 6,
        "total": 2,
        "done": 0,
        "failed": 0,
        "rate": 50.0,
    }
    assert Replays(full).find(1).reason == "CRM was down"
    with full.store.reading() as connection:
        [by] = connection.scalars(select(full.store.tables.replay.c.created_by))
    assert "@" in by


def test_a_person_gets_the_id(full: EventLog, run: Run) -> None:
    """The id is the data; how to look at it is a hint."""
    result = run("replay", "start", "crm", "--yes")

    assert (result.code, result.out) == (0, "1\n")
    assert "router replay show 1" in result.err


def test_nothing_is_started_without_consent(full: EventLog, run: Run) -> None:
    """Without a terminal it exits 2 and says the exact count."""
    result = run("replay", "start", "crm", "--json", stdin=b"y\n")

    assert (result.code, result.out) == (2, "")
    assert "Replay 3 events to 'crm'?" in result.err
    assert count_replays(full) == 0


@pytest.mark.parametrize("options", [["--yes"], ["--dry-run"], []])
def test_what_would_all_be_skipped_is_refused(full: EventLog, run: Run, options: list[str]) -> None:
    """It exits 1 and says the ways to allow it, whether it is asked for or only looked at."""
    result = run("replay", "start", "crm", "--type", "sent", *options)

    assert result.code == 1
    for way in ("--include-effects", "[subscriptions.crm]", '@hookimpl(replay="allow")'):
        assert way in result.err
    assert count_replays(full) == 0


def test_what_refuses_is_never_replayed(full: EventLog, run: Run) -> None:
    """Not even with effects included."""
    append(full, make_entry("ana", "error"))

    result = run("replay", "start", "crm", "--yes", "--include-effects")

    assert (result.code, "refuse replays" in result.err) == (1, True)
    assert count_replays(full) == 0


def test_an_unknown_subscription_is_a_failure(full: EventLog, run: Run) -> None:
    """It exits 1 and names those that there are."""
    result = run("replay", "start", "crn", "--dry-run")

    assert (result.code, "known: crm" in result.err) == (1, True)


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast"])
def test_a_rate_is_more_than_0(full: EventLog, run: Run, rate: str) -> None:
    """Anything else is a usage error."""
    result = run("replay", "start", "crm", "--yes", "--rate", rate)

    assert (result.code, "'--rate'" in result.err) == (2, True)


def test_replays_are_listed_newest_first_and_in_pages(full: EventLog, run: Run) -> None:
    """Each has the agreed fields, and the cursor of one page begins the next."""
    for _ in range(3):
        start_replay(full)

    first = run("replay", "list", "--json", "--limit", "2")
    cursor = first.json["next_cursor"]
    second = run("replay", "list", "--json", "--limit", "2", "--cursor", cursor)

    assert [one["id"] for one in first.data] == [3, 2]
    assert list(first.data[0]) == FIELDS
    assert ([one["id"] for one in second.data], second.json["next_cursor"]) == ([1], None)
    heading, *lines = run("replay", "list").out.splitlines()
    assert heading.split() == [name.upper() for name in FIELDS]
    assert [line.split()[:3] for line in lines] == [[n, "crm", "planned"] for n in "321"]


def test_none_is_an_empty_list(run: Run) -> None:
    """Nothing on stdout, and no failure."""
    result = run("replay", "list")

    assert (result.code, result.out, result.err) == (0, "", "There are no replays.\n")


def test_one_is_shown(full: EventLog, run: Run) -> None:
    """With the agreed fields, and all that is known beside; what came of it by type, too."""
    start_replay(full, first=2)
    end_replay(full, failed=1)

    shown = run("replay", "show", "1", "--json").data
    assert list(shown)[: len(FIELDS)] == FIELDS
    assert (shown["state"], shown["done"], shown["failed"]) == ("done", 1, 1)
    assert shown["by_type"] == {"message": {"done": 1, "failed": 1}, "sent": {"skipped": 1}}
    assert (shown["reason"], shown["created_by"], shown["last_error"]) == ("repair", "ana", None)
    assert shown["filter"] == {"types": ["message"]}

    text = run("replay", "show", "1")
    assert "reason:           repair\n" in text.out
    assert 'filter:           {"types":["message"]}\n' in text.out
    assert text.out.splitlines()[-3:] == [
        "TYPE     DONE  FAILED  SKIPPED",
        "message  1     1       0",
        "sent     0     0       1",
    ]
    assert "router dead redrive --replay 1" in text.err


def test_an_unknown_one_is_a_failure(run: Run) -> None:
    """It exits 1 and says how to see all."""
    result = run("replay", "show", "9")

    assert (result.code, "`router replay list`" in result.err) == (1, True)


HANDLERS = """
from router import Reject, hookimpl

@hookimpl(replay="allow")
def on_message(event):
    if event.replay and event.channel == "49":
        raise Reject("not again")
"""


def test_a_replay_is_waited_for(log: EventLog, run: Run, start: Start, tmp_path: Path) -> None:
    """Its end is told on stderr, its last state on stdout; it exits 1 if anything failed."""
    append(log, make_entry(), make_entry(channel="49"))
    (tmp_path / "crm.py").write_text(HANDLERS)

    with start("worker", "--plugins-dir", ".") as worker:
        while "delivering" not in worker.stderr.readline():
            assert worker.poll() is None
        failing = run("replay", "start", "crm", "--yes", "--wait", "--json")
        sound = run("replay", "start", "crm", "--yes", "--wait", "--to", "2")
        worker.terminate()
        assert worker.wait() == 0

    assert (failing.code, failing.data["state"], failing.data["failed"]) == (1, "done", 1)
    assert failing.err == "replay 1 done: 1 done, 1 failed of 2\n"
    assert (sound.code, sound.out) == (0, "2\n")
