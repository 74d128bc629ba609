"""Tests of what the event of one element says: whose it is, when it was, how it is known again."""

from datetime import UTC, datetime

import pytest

from tests import samples
from tests.plugins.splitting import events, message_of, only, status_of
from tests.samples import Json

# Whose it is


@pytest.mark.parametrize(
    ("number", "configured", "account", "expected"),
    [
        ("1", "+52", "7", "1"),
        (None, "+52", "7", "+52"),
        (None, "", "7", "7"),
        (None, "", None, ""),
        (1, "", "7", "1"),
        (True, "", "7", "7"),
        ("a\0b", "", ["7"], ""),
    ],
)
def test_channel(number: object, configured: str, account: object, expected: str) -> None:
    """The channel is the number in the body, else the configured one, else the account."""
    content = {"metadata": {"phone_number_id": number}, "messages": [samples.text_message()]}
    body = samples.cloud({"id": account, "changes": [samples.change(content)]})
    assert only(body, channel=configured).channel == expected


def test_channel_of_fields() -> None:
    """A field that names no number belongs to the account, whatever number is configured."""
    body = samples.cloud(samples.entry(samples.change({"event": "X"}, "account_update")))
    assert only(body, channel="+52").channel == samples.ACCOUNT
    assert only(samples.calls(), channel="+52").channel == samples.NUMBER


def test_channel_onprem() -> None:
    """The On-Premises shape never names the receiving number: the source does."""
    assert only(samples.onprem_text(), channel="+5215512345678").channel == "+5215512345678"
    assert only(samples.onprem_text()).subject == f":{samples.CUSTOMER}"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"group_id": "G1", "from_user_id": "MX.1"}, "G1"),
        ({"from_user_id": "MX.1", "from_bsuid": "MX.2"}, "MX.1"),
        ({"from_bsuid": "MX.2"}, "MX.2"),
        ({}, samples.CUSTOMER),
        ({"from": "  +52 1 "}, "  +52 1 "),
        ({"from": 5215500001111}, "5215500001111"),
        ({"from": "1\0"}, ""),
        ({"from": "\u00e9" * 256}, "\u00e9" * 256),
        ({"from": "\u00e9" * 257}, ""),  # as bytes more than any index should hold
        ({"from": None}, ""),
    ],
)
def test_conversation_of_message(changes: Json, expected: str) -> None:
    """A message belongs to its group, else to its sender, as it is written there."""
    assert message_of(**changes).conversation == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"group_id": "G1", "recipient_user_id": "MX.1"}, "G1"),
        ({"recipient_type": "group", "recipient_id": "G2", "recipient_user_id": "MX.1"}, "G2"),
        ({"recipient_user_id": "MX.1"}, "MX.1"),
        ({}, samples.CUSTOMER),
        ({"recipient_id": None, "message": {"recipient_id": "52"}}, "52"),
        ({"recipient_id": None, "message": "52"}, ""),
        ({"recipient_id": None}, ""),
    ],
)
def test_conversation_of_status(changes: Json, expected: str) -> None:
    """A status belongs to the group that was written to, else to the recipient."""
    assert status_of(**changes).conversation == expected


@pytest.mark.parametrize(
    ("contacts", "expected"),
    [
        ([{"wa_id": "52", "user_id": "MX.1"}], "MX.1"),
        ([{"wa_id": "52"}], "52"),
        ([{"wa_id": "52"}, {"wa_id": "53"}], ""),
        ([{"profile": {"name": "Ana"}}], ""),
        (["52"], ""),
        ([], ""),
        ({"wa_id": "52"}, ""),
    ],
)
def test_only_contact(contacts: object, expected: str) -> None:
    """Where nothing else names the other side, a single contact does; of several, none."""
    nameless = samples.text_message(**{"from": None})
    orphan = samples.status(recipient_id=None)
    lists = {"messages": [nameless], "statuses": [orphan], "errors": [samples.error()]}
    drafts = events(samples.cloud_value(contacts=contacts, **lists))
    assert [draft.conversation for draft in drafts] == [expected] * 3


def test_external_id() -> None:
    """An event carries the provider's id of what it is about; calls and echoes their first."""
    echo = samples.cloud_field("smb_message_echoes", message_echoes=[samples.text_message(4)])
    call = samples.cloud_field("calls", calls=[{"id": "wacid.1"}, {"id": "wacid.2"}])
    bodies_of = [samples.onprem_text(), samples.calls(), echo, call, {"errors": [{"id": "7"}]}]
    found = [only(body).external_id for body in bodies_of]
    assert found == ["wamid.IN1", "wacid.77", "wamid.IN4", "wacid.1", None]
    assert only(samples.cloud_field("calls", calls=["x"])).external_id is None


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("1790000000", datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
        (1790000000, datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
        ("2026-09-21T14:13:20Z", datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
        ("2026-09-21T08:13:20.5-06:00", datetime(2026, 9, 21, 14, 13, 20, 500000, tzinfo=UTC)),
        ("2026-09-21 14:13:20", datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)),
        (0, datetime(1970, 1, 1, tzinfo=UTC)),
        (253402300799, datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (253402300800, None),
        (1790000000000, None),
        ("9" * 4000, None),
        ("9" * 5000, None),
        (10**400, None),
        (-1, None),
        ("-1", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("yesterday", None),
        ("²", None),
        ("١٢٣", None),
        ("2026-09-21T14:13:2\ud800", None),
        ("", None),
        (1.5, None),
        (True, None),
        (None, None),
        ([1], None),
    ],
)
def test_occurred_at(written: object, expected: datetime | None) -> None:
    """Seconds and ISO 8601 are understood; what is junk or out of range is no time, not an end."""
    assert message_of(timestamp=written).occurred_at == expected
    assert status_of(timestamp=written).occurred_at == expected


def test_field_times() -> None:
    """The event of a field happened at the time of its entry, in seconds, where there is one."""
    alert = samples.change({"alert": "x"}, "account_alerts")
    timed = only(samples.cloud(samples.entry(alert, time=1790000000)))
    assert timed.occurred_at == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    assert only(samples.cloud(samples.entry(alert))).occurred_at is None


# What it is known again by


def test_message_key() -> None:
    """A message is known by channel and id, whatever else changes on its way."""
    key = message_of().natural_key
    assert key == ("message", samples.NUMBER, "wamid.IN1")
    assert message_of(timestamp="1790000009", type="image").natural_key == key


def test_status_key() -> None:
    """A status is known by id and word, and in a group by its participant, not by its time."""
    key = status_of("read").natural_key
    assert key == ("status", samples.NUMBER, "wamid.OUT1", "read", "")
    assert status_of("read", timestamp="1790000009").natural_key == key
    others = [
        status_of("delivered"),
        status_of("read", recipient_participant_id="1"),
        status_of("read", recipient_participant_id="2"),
        status_of("read", recipient_participant_user_id="MX.1"),
    ]
    assert len({key, *(draft.natural_key for draft in others)}) == 5


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        ([{"code": 131026}, {"code": 1}], "131026"),
        ([{}], ""),
        (["x"], ""),
        ([], ""),
        ({"code": 5}, ""),
        (None, ""),
    ],
)
def test_failure_key(errors: object, code: str) -> None:
    """A failure is known by its first error's code too: another attempt can fail otherwise."""
    expected = ("status", samples.NUMBER, "wamid.OUT1", "failed", "", code)
    assert status_of("failed", errors=errors).natural_key == expected


def test_no_key() -> None:
    """What has no identity of its own has no key, so that recurrences are not swallowed."""
    body = {"messages": [{}], "errors": [samples.error()], "statuses": {}}
    assert [draft.natural_key for draft in events(body)] == [None, None, None]
    assert only({"what": "is this"}).natural_key is None
    assert only(samples.cloud_field("account_alerts", alert="x")).natural_key is None


@pytest.mark.parametrize("field", ["calls", "smb_message_echoes", "history", "user_preferences"])
def test_key_of_field_that_names_its_things(field: str) -> None:
    """A field whose values carry ids and times is known by its value, in any order of keys."""
    first = only(samples.cloud_field(field, things=[{"id": 1}], more={"a": 1, "b": [2]}))
    again = only(samples.cloud_field(field, more={"b": [2], "a": 1}, things=[{"id": 1}]))
    other = only(samples.cloud_field(field, things=[{"id": 2}], more={"a": 1, "b": [2]}))
    assert first.natural_key is not None
    assert first.natural_key == again.natural_key
    assert first.natural_key != other.natural_key
    assert only(samples.cloud(samples.entry(samples.change(None, field)))).natural_key is None


def test_key_of_timed_field() -> None:
    """Any other field is known by its value together with the time of its entry."""

    def key(time: object, event: str = "FLAGGED") -> tuple[str, ...] | None:
        flagged = samples.change({"event": event}, "phone_number_quality_update")
        return only(samples.cloud(samples.entry(flagged, time=time))).natural_key

    assert key(1790000000) == key("1790000000") != key(1790000001)
    assert key(1790000000) != key(1790000000, "UNFLAGGED")
    assert key(None) is None
    assert key({}) is None
    assert key(1790000000, "half \ud800") == key(1790000000, "half \ud800") is not None
