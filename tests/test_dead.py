"""Tests of `router.dead`: what was given up, and why."""

import pytest

from router.dead import DeadLetters
from router.errors import UnknownName
from router.log import EventLog
from tests.entries import append, append_messages, make_entry
from tests.histories import park, subscribe


@pytest.fixture
def letters(log: EventLog) -> DeadLetters:
    """What is tested, on a log of three messages and two subscriptions."""
    append_messages(log, ["ana", "ben", "cem"])
    for name in ("crm", "mail"):
        subscribe(log, name)
    return DeadLetters(log.store)


def places(letters: DeadLetters, **options: object) -> list[tuple[str, int]]:
    """Where the listed dead letters are."""
    found = letters.list(limit=100, **options)  # type: ignore[arg-type]
    return [(one.subscription, one.position) for one in found]


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
    assert places(letters, after=("crm", 1)) == [("crm", 3), ("mail", 1)]
    assert [one.position for one in letters.list(limit=2)] == [1, 3]


def test_dead_letters_are_chosen(log: EventLog, letters: DeadLetters) -> None:
    """Subscriptions and types narrow the list."""
    append(log, make_entry("ana", "sent"))
    for position in (1, 4):
        park(log, position)
    park(log, 2, name="mail")

    assert places(letters, subscriptions=["mail"]) == [("mail", 2)]
    assert places(letters, types=["sent"]) == [("crm", 4)]


def test_those_of_a_replay_are_apart(log: EventLog, letters: DeadLetters) -> None:
    """Live delivery and each replay have dead letters of their own."""
    park(log, 1)
    park(log, 1, run=7, error="again")

    assert letters.find("crm", 1).error == "KeyError: 'a'"
    assert [one.error for one in letters.list(limit=9, run=7)] == ["again"]
    assert letters.find("crm", 1, run=7).error == "again"
