"""Tests of `router.dead`: what was given up, and why."""

import json

import pytest
from sqlalchemy import event, select, update

from router.dead import DeadLetters
from router.errors import UnknownName
from router.events import from_micros
from router.filters import DeadFilter
from router.intents import Intents
from router.log import EventLog
from tests.entries import append, append_messages, make_entry
from tests.histories import park, subscribe
from tests.records import read_checkpoint, read_parked

LATER = 1_700_000_001_000_000  # a second after the others failed


@pytest.fixture
def letters(log: EventLog) -> DeadLetters:
    """What is tested, on a log of three messages and two subscriptions."""
    append_messages(log, ["ana", "ben", "cem"])
    for name in ("crm", "mail"):
        subscribe(log, name)
    return DeadLetters(log.store)


def places(letters: DeadLetters, **options: object) -> list[tuple[str, int]]:
    """Where the listed dead letters are."""
    found = letters.list(DeadFilter(**options), limit=100)  # type: ignore[arg-type]
    return [(one.subscription, one.position) for one in found]


def mix(log: EventLog) -> None:
    """Leave a sent and three dead letters behind, which differ in all that can be chosen."""
    append(log, make_entry("ana", "sent"))
    park(log, 1)
    park(log, 4, error="Timeout: 30 s", started_at=LATER)
    park(log, 2, name="mail", error="ValueError: 5 Time%")


def free(log: EventLog) -> None:
    """Let nobody own any lane."""
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.lane).values(owner=None, expires_at=None))


def read_audit(log: EventLog) -> list[tuple[str, str, str, dict[str, object]]]:
    """Return who did what to what, and the details, of all that is written down."""
    table = log.store.tables.audit.c
    query = select(table.actor, table.action, table.target, table.detail)
    with log.store.reading() as connection:
        return [(*row[:3], json.loads(row[3])) for row in connection.execute(query)]


def test_a_dead_letter_says_what_failed(log: EventLog, letters: DeadLetters) -> None:
    """It names event, error and the number of calls."""
    park(log, 2)

    letter = letters.find("crm", 2)

    assert (letter.type, letter.subject, letter.attempts) == ("message", ":ben", 1)
    assert (letter.error, letter.as_dict()["parked_at"]) == (
        "KeyError: 'a'",
        "2023-11-14T22:13:20Z",
    )


def test_attempts_are_told_with_their_tracebacks(log: EventLog, letters: DeadLetters) -> None:
    """Each call on record has a number, a time and the place where it failed."""
    park(log, 2)

    [attempt] = letters.attempts(letters.find("crm", 2))

    assert (attempt.number, attempt.outcome, attempt.duration) == (1, "failed", 0.25)
    assert attempt.traceback == "Traceback …\nKeyError: 'a'"
    assert attempt.as_dict()["started_at"] == "2023-11-14T22:13:20Z"


def test_what_waits_for_another_attempt_is_not_dead(log: EventLog, letters: DeadLetters) -> None:
    """A parked delivery becomes a dead letter only when it is given up."""
    park(log, 2, next_at=1)

    assert places(letters) == []
    with pytest.raises(UnknownName, match="no dead letter of 'crm' at position 2"):
        letters.find("crm", 2)


def test_dead_letters_come_in_order_and_in_pages(log: EventLog, letters: DeadLetters) -> None:
    """They ascend by subscription and position, and a page goes on where another ended."""
    for name, position in (("mail", 1), ("crm", 3), ("crm", 1)):
        park(log, position, name=name)

    assert places(letters) == [("crm", 1), ("crm", 3), ("mail", 1)]
    after = letters.list(limit=100, after=("crm", 1))
    assert [(one.subscription, one.position) for one in after] == [("crm", 3), ("mail", 1)]
    assert [one.position for one in letters.list(limit=2)] == [1, 3]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"subscriptions": ("mail",)}, [("mail", 2)]),
        ({"subscriptions": ("mail", "crm")}, [("crm", 1), ("crm", 4), ("mail", 2)]),
        ({"types": ("sent",)}, [("crm", 4)]),
        ({"subjects": (":ana",)}, [("crm", 1), ("crm", 4)]),
        ({"positions": (2, 4, 9)}, [("crm", 4), ("mail", 2)]),
        ({"error": "TIME"}, [("crm", 4), ("mail", 2)]),
        ({"error": "time_ut"}, []),
        ({"error": "time%"}, [("mail", 2)]),
        ({"since": from_micros(LATER)}, [("crm", 4)]),
        ({"until": from_micros(LATER)}, [("crm", 1), ("mail", 2)]),
        ({"error": "time", "types": ("message",)}, [("mail", 2)]),
    ],
)
def test_dead_letters_are_chosen(
    log: EventLog, letters: DeadLetters, options: dict[str, object], found: list[tuple[str, int]]
) -> None:
    """What is listed, counted and changed are the same: those of which every field matches."""
    mix(log)
    free(log)
    matching = DeadFilter(**options)  # type: ignore[arg-type]

    assert places(letters, **options) == found
    assert letters.count(matching).total == len(found)
    assert letters.discard(matching, actor="ana").total == len(found)
    assert [one for one in places(letters) if one in found] == []
    assert len(places(letters)) == 3 - len(found)


def test_those_of_a_replay_are_apart(log: EventLog, letters: DeadLetters) -> None:
    """Live delivery and each replay have dead letters of their own."""
    park(log, 1)
    park(log, 1, run=7, error="again")

    assert letters.find("crm", 1).error == "KeyError: 'a'"
    assert [one.error for one in letters.list(DeadFilter(run=7), limit=9)] == ["again"]
    assert letters.find("crm", 1, run=7).error == "again"


@pytest.mark.parametrize("act", ["list", "groups", "count", "redrive", "discard"])
def test_an_unknown_subscription_is_told(letters: DeadLetters, act: str) -> None:
    """A name that was mistyped is no empty answer."""
    options = {"limit": 9} if act in ("list", "groups") else {}
    options |= {"actor": "ana"} if act in ("redrive", "discard") else {}  # type: ignore[dict-item]

    with pytest.raises(UnknownName, match="'cmr' is unknown: did you mean crm"):
        getattr(letters, act)(DeadFilter(subscriptions=("cmr",)), **options)


def test_errors_are_grouped(log: EventLog, letters: DeadLetters) -> None:
    """By subscription and error, the most frequent first, with their times and an example."""
    park(log, 3)
    park(log, 2, started_at=LATER)
    park(log, 1, error="again")
    park(log, 1, name="mail")
    park(log, 1, run=7)

    groups = letters.groups(limit=9)

    assert [(one.count, one.subscription, one.error) for one in groups] == [
        (2, "crm", "KeyError: 'a'"),
        (1, "crm", "again"),
        (1, "mail", "KeyError: 'a'"),
    ]
    assert groups[0].as_dict() == {
        "subscription": "crm",
        "error": "KeyError: 'a'",
        "count": 2,
        "first_parked_at": "2023-11-14T22:13:20Z",
        "last_parked_at": "2023-11-14T22:13:21Z",
        "position": 2,
    }
    assert letters.groups(limit=1, offset=1) == groups[1:2]
    assert letters.groups(DeadFilter(error="again"), limit=9) == groups[1:2]


def test_what_is_redriven_is_counted_and_written_down(log: EventLog, letters: DeadLetters) -> None:
    """One row says who redrove what of which subscriptions; checkpoints stay."""
    mix(log)
    free(log)

    counts = letters.redrive(DeadFilter(subjects=(":ana",)), actor="ana@host")

    assert (counts.total, counts.by_type) == (2, {"message": 1, "sent": 1})
    assert counts.is_carried_out
    assert {p: row.state for p, row in read_parked(log.store).items()} == {1: "retry", 4: "retry"}
    assert places(letters) == [("mail", 2)]
    assert (read_checkpoint(log.store), read_checkpoint(log.store, "mail")) == (0, 0)
    detail = {"filter": {"subjects": [":ana"]}, "total": 2, "by_type": {"message": 1, "sent": 1}}
    assert read_audit(log) == [("ana@host", "dead redrive", "crm", detail)]


def test_all_of_several_subscriptions_are_one_change(log: EventLog, letters: DeadLetters) -> None:
    """Each has an intent of its own, and the record names them all."""
    mix(log)

    counts = letters.discard(actor="ana")

    assert (counts.total, counts.is_carried_out) == (3, False)
    assert [one.subscription for one in Intents(log.store).find(["crm", "mail"])] == ["crm", "mail"]
    assert [row[:3] for row in read_audit(log)] == [("ana", "dead discard", "crm, mail")]


def test_what_is_decided_is_not_taken_again(log: EventLog, letters: DeadLetters) -> None:
    """What waits for its owner is listed, but neither counted nor changed by a second command."""
    mix(log)
    letters.discard(DeadFilter(positions=(1,)), actor="ana")

    assert letters.count().total == 2
    assert letters.redrive(DeadFilter(positions=(1,)), actor="ben").total == 0

    assert ("crm", 1) in places(letters)
    assert [row[0] for row in read_audit(log)] == ["ana"]


def test_nothing_that_dies_later_is_changed(log: EventLog, letters: DeadLetters) -> None:
    """The set is fixed by the command, not by the owner who carries it out."""
    park(log, 1)
    letters.redrive(actor="ana")
    park(log, 2)
    free(log)

    letters.catch_up()

    assert {p: row.state for p, row in read_parked(log.store).items()} == {1: "retry", 2: "dead"}
    assert Intents(log.store).find(["crm"]) == []


def test_a_large_set_takes_no_more_statements(log: EventLog, letters: DeadLetters) -> None:
    """A command costs as many statements for many dead letters as for a few."""
    statements: list[str] = []
    event.listen(
        log.store.engine, "before_cursor_execute", lambda *call: statements.append(call[2])
    )
    append_messages(log, ["ana"] * 40)
    free(log)
    costs = []
    for last in (2, 40):
        for position in range(1, last + 1):
            park(log, position)
        statements.clear()
        assert letters.discard(actor="ana").total == last
        costs.append(len(statements))

    assert costs[0] == costs[1]
