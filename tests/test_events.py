"""Tests of the records: what an event shows, and how it is named and known again."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.events import (
    SHARDS,
    Draft,
    Event,
    Notification,
    Replaying,
    as_micros,
    as_rfc3339,
    from_micros,
    key_of,
    make_ids,
    position_in,
    shard_of,
)
from tests import samples

RECEIVED = datetime(2026, 9, 21, 14, 13, 21, 250000, tzinfo=UTC)


def notification(body: bytes) -> Notification:
    """Return a notification of ``body``."""
    return Notification(source="wa", received_at=RECEIVED, headers={"x": "y"}, body=body, id=7)


def event(body: bytes, path: str, *, replay: Replaying | None = None) -> Event:
    """Return the event at ``path`` of ``body``."""
    return Event(
        position=8,
        id=make_ids(8, 1)[0],
        type="read",
        subtype="read",
        channel="+52",
        subject="+52:55",
        external_id=None,
        occurred_at=None,
        path=path,
        notification=notification(body),
        replay=replay,
    )


def test_payload_and_parent() -> None:
    """The payload is the element at the path, the parent the object that holds it."""
    body = samples.cloud_value(contacts=[samples.contact()], statuses=[samples.status("read")])
    found = event(samples.as_body(body), "$.entry[0].changes[0].value.statuses[0]")
    assert found.payload == samples.status("read")
    assert isinstance(found.parent, dict)
    assert found.parent["contacts"] == [samples.contact()]


def test_payload_of_what_is_no_json() -> None:
    """Where the body is not JSON there is neither payload nor parent, and no error."""
    found = event(b"a=1&b=2", "$")
    assert (found.payload, found.parent, found.notification.data) == (None, None, None)


@pytest.mark.parametrize("body", [b"{}", b"[]", b"not JSON"])
def test_payload_that_is_not_there(body: bytes) -> None:
    """Where an adapter named a place that the body does not have, there is nothing either."""
    found = event(body, "$.statuses[0].id")
    assert (found.payload, found.parent) == (None, None)


def test_notification_is_decoded_once() -> None:
    """The decoded body is kept, and whether it has been asked for makes no difference."""
    asked, other = notification(b'{"a": []}'), notification(b'{"a": []}')
    assert asked.data is asked.data
    assert asked == other
    assert repr(asked) == repr(other)


def test_as_dict() -> None:
    """An event's JSON form holds what the contract names, in its order, and never the body."""
    found = event(samples.as_body(samples.onprem_text()), "$.messages[0]")
    shown = found.as_dict()
    assert list(shown) == [
        *("position", "id", "type", "subtype", "source", "channel", "subject", "external_id"),
        *("occurred_at", "received_at", "notification_id", "path", "payload"),
    ]
    assert shown["received_at"] == "2026-09-21T14:13:21.250000Z"
    assert (shown["source"], shown["notification_id"]) == ("wa", 7)
    assert shown["payload"] == samples.text_message()
    assert all(getattr(found, name) == shown[name] for name in ("id", "source", "payload"))


def test_subject() -> None:
    """The subject is channel and conversation, verbatim; either may be missing."""
    drafts = [Draft(path="$", type="other", subtype="x", channel="+52", conversation=" 5 ")]
    drafts += [Draft(path="$", type="other", subtype="x", channel="+52")]
    drafts += [Draft(path="$", type="other", subtype="x")]
    assert [draft.subject for draft in drafts] == ["+52: 5 ", "+52:", ":"]


@pytest.mark.parametrize(
    ("subject", "shard"),
    # By hand: printf '%s' SUBJECT | sha256sum | head -c 4, as a number, modulo 1024.
    [("", 0xE3B0 % 1024), ("abc", 0xBA78 % 1024), ("+52:ä", 0xCFF5 % 1024)],
)
def test_shard(subject: str, shard: int) -> None:
    """A subject's shard is a part of its SHA-256, the same on every machine and for ever."""
    assert shard_of(subject) == shard


@given(st.text())
def test_shard_range(subject: str) -> None:
    """Every subject has a shard."""
    assert 0 <= shard_of(subject) < SHARDS


def draft_of(*parts: str, path: str = "$") -> Draft:
    """Return a draft with that natural key; none without parts."""
    return Draft(path=path, type="other", subtype="x", natural_key=parts or None)


def test_natural_key() -> None:
    """By a natural key an event is known in whatever body, and at whatever place, it comes."""
    key = key_of("wa", draft_of("message", "+52", "1"), b"one")
    assert len(key) == 16
    assert key == key_of("wa", draft_of("message", "+52", "1", path="$.x"), b"two")
    assert key != key_of("other", draft_of("message", "+52", "1"), b"one")


def test_no_natural_key() -> None:
    """Without one, only the same place of the same body of the same source is the same event."""
    key = key_of("wa", draft_of(), b"one")
    assert key == key_of("wa", draft_of(), b"one")
    others = [("wa", "$", b"two"), ("wa", "$.x", b"one"), ("other", "$", b"one")]
    assert key not in {key_of(source, draft_of(path=path), body) for source, path, body in others}


@given(st.lists(st.lists(st.text(st.characters(), max_size=3), min_size=1), min_size=2, max_size=2))
def test_keys_differ(keys: list[list[str]]) -> None:
    """Natural keys that differ anywhere give different keys: no joining makes two alike."""
    one, two = (key_of("wa", draft_of(*parts), b"") for parts in keys)
    assert (one == two) == (keys[0] == keys[1])


def test_ids() -> None:
    """Ids are UUIDs of version 8 that carry the position and are never the same twice."""
    ids = make_ids(5, 100) + make_ids(5, 100)
    assert len(set(ids)) == 200
    assert [position_in(one) for one in ids[:100]] == list(range(5, 105))
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in ids} == {(8, uuid.RFC_4122)}
    assert position_in(make_ids(2**40 - 1, 1)[0]) == 2**40 - 1


def test_id_as_people_write_it() -> None:
    """An id is also understood in capitals and without its hyphens."""
    (one,) = make_ids(12, 1)
    assert position_in(one.upper()) == position_in(one.replace("-", "")) == 12


@pytest.mark.parametrize(
    "text",
    [
        "",
        "12",
        "wamid.IN1",
        "3f2504e0-4f89-11d3-9a0c-0305e82c3301",  # of version 1
        "00000000-0000-8000-8000-00000x000001",
        "00000000-0000-8000-8000-0000+0000001",
        "00000000-0000-8000-8000-00000_000001",
        "00000000-0000-8000-8000-0000000000011",
    ],
)
def test_no_id(text: str) -> None:
    """What is not an id of ours carries no position."""
    assert position_in(text) is None


@given(st.datetimes(timezones=st.just(UTC)))
def test_micros(moment: datetime) -> None:
    """A moment is stored as whole microseconds and comes back as it was."""
    assert from_micros(as_micros(moment)) == moment


def test_micros_known() -> None:
    """Microseconds count from 1970 in UTC, whatever zone the moment is told in."""
    assert as_micros(RECEIVED) == 1_790_000_001_250_000
    assert as_micros(RECEIVED.astimezone(timezone(timedelta(hours=-6)))) == 1_790_000_001_250_000
    assert as_micros(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1_000_000


def test_rfc3339() -> None:
    """Times are shown in UTC with a Z; what is not known is null."""
    mexican = RECEIVED.astimezone(timezone(timedelta(hours=-6)))
    assert as_rfc3339(mexican) == "2026-09-21T14:13:21.250000Z"
    assert as_rfc3339(RECEIVED.replace(microsecond=0)) == "2026-09-21T14:13:21Z"
    assert as_rfc3339(None) is None
