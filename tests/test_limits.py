"""Tests of the longest texts that can be looked up: PostgreSQL indexes no longer ones."""

import random

import pytest

from router import rows
from router.errors import StoreError
from router.events import Draft
from router.filters import Filter
from router.log import EventLog
from router.rows import MAX_SUBJECT, Appended
from router.writer import Writer
from tests.drafts import make, positions
from tests.entries import make_entry
from tests.histories import park
from tests.loops import in_loop
from tests.submitting import settle, submit, writing

LONGEST_NAME = "s" * 255  # of a subscription


def make_text(size: int, letter: str = "") -> str:
    """Return a text of so many bytes which does not become shorter by being packed."""
    made = random.Random(7).choices("0123456789abcdefghijklmnopqrstuvwxyz", k=size)  # noqa: S311
    return "".join(made)[: size - len(letter.encode())] + letter


def long_draft(size: int, letter: str = "") -> Draft:
    """Return an event whose subject has so many bytes."""
    text = make_text(size - 1, letter)
    half = len(text) // 2
    return Draft(
        path="$", type="message", subtype="text", channel=text[:half], conversation=text[half:]
    )


@pytest.mark.parametrize("letter", ["", "\u00e9", "\U0001f600"])
def test_the_longest_subject_has_its_place(log: EventLog, letter: str) -> None:
    """It is appended, found again, parked and blocked, for the longest name of a subscription."""
    draft = long_draft(MAX_SUBJECT, letter)
    assert len(draft.subject.encode()) == MAX_SUBJECT
    log.append([make(b"{}", draft)])
    park(log, 1, name=LONGEST_NAME, next_at=1, is_blocking=True)
    assert positions(log.read(matching=Filter(subjects=(draft.subject,)))) == [1]


@pytest.mark.parametrize("letter", ["", "\u00e9", "\U0001f600"])
def test_a_longer_subject_is_refused(log: EventLog, letter: str) -> None:
    """Whatever its letters, and without quoting it; nothing of it is stored."""
    draft = long_draft(MAX_SUBJECT + 1, letter)
    with pytest.raises(StoreError, match="no more than 2000 bytes") as refused:
        log.append([make_entry(), make(b"{}", draft)])
    assert draft.conversation not in str(refused.value)
    assert log.head() == 0


@in_loop
async def test_what_the_server_refuses_fails_alone(
    log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A row that only the server finds too long costs no neighbour, and is no outage."""
    monkeypatch.setattr(rows, "MAX_SUBJECT", 10_000)
    entries = [make_entry() for _ in range(6)]
    entries[3:3] = [make(b"{}", long_draft(9_000))]
    async with writing(Writer(log)) as writer:
        results = await settle(await submit(writer, *entries))
    too_long = results.pop(3)
    assert all(isinstance(one, Appended) for one in results)
    has_limit = log.store.engine.dialect.name == "postgresql"
    assert isinstance(too_long, StoreError if has_limit else Appended)
    assert log.head() == 6 + (not has_limit)
