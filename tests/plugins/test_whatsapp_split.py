"""Tests of the splitter: which events a body holds, and what each of them says."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from router import bodies, paths
from router.errors import Unreadable
from router.events import EVENT_TYPES, Draft, key_of
from router.plugins.whatsapp.split import split
from tests import samples
from tests.samples import Json
from tests.strategies import json_values, mutated


def events(value: object, *, channel: str = "") -> list[Draft]:
    """Split ``value`` as a body."""
    return split(samples.as_body(value), channel=channel)


def only(value: object, *, channel: str = "") -> Draft:
    """Split ``value`` and return its only event."""
    (draft,) = events(value, channel=channel)
    return draft


def kinds(drafts: Sequence[Draft]) -> list[tuple[str, str]]:
    """Return type and subtype of each."""
    return [(draft.type, draft.subtype) for draft in drafts]


def message_of(**changes: object) -> Draft:
    """Return the event of a Cloud message with these changes."""
    return only(samples.cloud_value(messages=[samples.text_message(**changes)]))


def status_of(word: str = "sent", /, **changes: object) -> Draft:
    """Return the event of a Cloud status with these changes."""
    return only(samples.cloud_value(statuses=[samples.status(word, **changes)]))


# What becomes an event


def test_batch() -> None:
    """Every entry, change and element of a batch gives its events, in the order of the body."""
    body = samples.cloud_batch()
    drafts = events(body)
    assert [draft.path for draft in drafts] == [
        "$.entry[0].changes[0].value.messages[0]",
        "$.entry[0].changes[0].value.messages[1]",
        "$.entry[0].changes[1].value.statuses[0]",
        "$.entry[0].changes[1].value.statuses[1]",
        "$.entry[1].changes[0]",
    ]
    assert kinds(drafts) == [
        ("message", "text"),
        ("message", "text"),
        ("delivered", "delivered"),
        ("error", "failed"),
        ("other", "message_template_status_update"),
    ]
    found = [paths.find(body, draft.path) for draft in drafts[:4]]
    ids = [element["id"] for element in found if isinstance(element, dict)]
    assert ids == [draft.external_id for draft in drafts[:4]]


def test_onprem() -> None:
    """The On-Premises shape holds the same lists at its root: messages, statuses, errors."""
    drafts = events(dict(reversed(samples.onprem_mixed().items())))
    assert [draft.path for draft in drafts] == ["$.messages[0]", "$.statuses[0]", "$.errors[0]"]
    assert kinds(drafts) == [("message", "text"), ("read", "read"), ("error", "1015")]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("sent", ("sent", "sent")),
        ("delivered", ("delivered", "delivered")),
        ("read", ("read", "read")),
        ("failed", ("error", "failed")),
        ("played", ("other", "played")),
        ("deleted", ("other", "deleted")),
        ("warning", ("other", "warning")),
        ("Sent", ("other", "Sent")),
        ("teleported", ("other", "teleported")),
    ],
)
def test_status_word(word: str, expected: tuple[str, str]) -> None:
    """A status gives its own event type, a failure an error, and a word of tomorrow is kept."""
    assert kinds([status_of(word)]) == [expected]


@pytest.mark.parametrize("kind", ["text", "image", "revoke", "hologram"])
def test_message_type(kind: str) -> None:
    """A message of any type is a message, and its type is the subtype."""
    assert kinds([message_of(type=kind)]) == [("message", kind)]


@pytest.mark.parametrize("kind", [None, "", {}, True, ["text"]])
def test_message_without_type(kind: object) -> None:
    """A message that does not say its type is a message all the same."""
    assert kinds([message_of(type=kind)]) == [("message", "unknown")]


@pytest.mark.parametrize(("code", "subtype"), [(131000, "131000"), (0, "0"), ("470", "470")])
def test_error_code(code: object, subtype: str) -> None:
    """An error that stands by itself is an error event with its code as subtype."""
    draft = only(samples.cloud_value(errors=[{"code": code}]))
    assert kinds([draft]) == [("error", subtype)]


@pytest.mark.parametrize("error", [{}, {"code": None}, {"code": 1.5}, {"code": [1]}])
def test_error_without_code(error: Json) -> None:
    """An error that has no code is an error event all the same."""
    assert kinds([only({"errors": [error]})]) == [("error", "unknown")]


def test_errors_within() -> None:
    """Errors inside a message or a status are part of that event and give none of their own."""
    ailing = samples.text_message(type="unsupported", errors=[samples.error(131051)])
    drafts = events(samples.cloud_value(messages=[ailing], statuses=[samples.failure()]))
    assert kinds(drafts) == [("message", "unsupported"), ("error", "failed")]


# Fields of the Cloud API


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("calls", {"statuses": [samples.status("RINGING")], "errors": [samples.error()]}),
        ("history", {"messages": [samples.text_message()]}),
        ("account_update", {"event": "ACCOUNT_DELETED"}),
        ("tomorrow", {}),
    ],
)
def test_other_field(field: str, content: Json) -> None:
    """A change to another field gives one event at the change, whatever its value holds."""
    draft = only(samples.cloud_field(field, **content))
    assert draft.path == "$.entry[0].changes[0]"
    assert kinds([draft]) == [("other", field)]


@pytest.mark.parametrize("content", [None, 5, "text", [1, 2], []])
def test_other_field_with_any_value(content: object) -> None:
    """A change to another field is kept even where its value is no object."""
    draft = only(samples.cloud(samples.entry(samples.change(content, "flows"))))
    assert kinds([draft]) == [("other", "flows")]


@pytest.mark.parametrize("field", [None, "", 1.5, {}])
def test_change_without_field(field: object) -> None:
    """A change that does not say its field is one to messages where its value looks like it."""
    known = samples.change(samples.value(messages=[samples.text_message()]), field)
    strange = samples.change(samples.value(novelties=[1]), field)
    drafts = events(samples.cloud(samples.entry(known, strange, {"field": field})))
    assert [(draft.path, draft.subtype) for draft in drafts] == [
        ("$.entry[0].changes[0].value.messages[0]", "text"),
        ("$.entry[0].changes[1]", "unrecognised"),
        ("$.entry[0].changes[2]", "unrecognised"),
    ]


def test_field_times() -> None:
    """The event of a field happened at the time of its entry, in seconds, where there is one."""
    alert = samples.change({"alert": "x"}, "account_alerts")
    timed = only(samples.cloud(samples.entry(alert, time=1790000000)))
    assert timed.occurred_at == datetime(2026, 9, 21, 14, 13, 20, tzinfo=UTC)
    assert only(samples.cloud(samples.entry(alert))).occurred_at is None


# What cannot be read


@pytest.mark.parametrize("element", [None, 1, "text", [], True])
def test_element_that_is_no_object(element: object) -> None:
    """An element that is no object is set aside, and its neighbours are not harmed."""
    drafts = events({"messages": [samples.text_message(1), element, samples.text_message(2)]})
    assert kinds(drafts) == [("message", "text"), ("other", "malformed"), ("message", "text")]
    assert drafts[1].path == "$.messages[1]"


@pytest.mark.parametrize("name", ["id", "status"])
@pytest.mark.parametrize(
    "content", [None, "", [], {}, False, 1.5, "nul\0", "half \ud800", "x" * 513]
)
def test_unusable_id_or_status(name: str, content: object) -> None:
    """A status without a usable id or word is set aside."""
    drafts = events({"statuses": [samples.status(**{name: content}), samples.status("read")]})
    assert [(draft.path, draft.subtype) for draft in drafts] == [
        ("$.statuses[0]", "malformed"),
        ("$.statuses[1]", "read"),
    ]


def test_message_without_id() -> None:
    """A message without an id is set aside: nothing would tell its redelivery from a new one."""
    assert kinds(events({"messages": [{}]})) == [("other", "malformed")]


@pytest.mark.parametrize("wrong", [{}, {"0": {}}, "text", 0, False])
@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("messages", "$.messages"),
        ("statuses", "$.statuses"),
        ("errors", "$.errors"),
        ("entry", "$.entry"),
    ],
)
def test_no_list_where_one_was_due(wrong: object, place: str, path: str) -> None:
    """Where a list was due and something else stands, one event keeps that place."""
    draft = only({place: wrong})
    assert (draft.path, draft.subtype) == (path, "malformed")


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (samples.cloud(None), "$.entry[0]"),
        (samples.cloud([]), "$.entry[0]"),
        (samples.cloud({"changes": {"field": "messages"}}), "$.entry[0].changes"),
        (samples.cloud(samples.entry("change")), "$.entry[0].changes[0]"),
        (samples.cloud(samples.entry(samples.change([]))), "$.entry[0].changes[0].value"),
        (samples.cloud(samples.entry(samples.change(None))), "$.entry[0].changes[0].value"),
        (samples.cloud_value(statuses={}), "$.entry[0].changes[0].value.statuses"),
    ],
)
def test_malformed_frame(body: Json, path: str) -> None:
    """An entry, change or value that is no object is kept as one event, beside its siblings."""
    entries = body["entry"]
    assert isinstance(entries, list)
    sibling = samples.entry(samples.change(samples.value(statuses=[samples.status("read")])))
    drafts = events(body | {"entry": [*entries, sibling]})
    assert [(draft.path, draft.subtype) for draft in drafts] == [
        (path, "malformed"),
        ("$.entry[1].changes[0].value.statuses[0]", "read"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        [samples.onprem_text()],
        None,
        17,
        "messages",
        {"messages": []},
        {"messages": None, "statuses": None},
        {"entry": []},
        {"entry": None},
        {"contacts": [samples.contact()]},
        {"hello": "world"},
        samples.cloud(),
        samples.cloud({}),
        samples.cloud({"id": "1", "time": 2, "changes": None}),
        samples.cloud(samples.entry()),
        samples.cloud(samples.entry(samples.change({}))),
        samples.cloud(samples.entry({"field": "messages"})),
        samples.cloud(samples.entry(samples.change({"messages": [], "statuses": None}))),
    ],
)
def test_nothing_known(body: object) -> None:
    """A body in which nothing is known is kept as exactly one event."""
    draft = only(body, channel="+5215512345678")
    assert kinds([draft]) == [("other", "unrecognised")]
    assert (draft.path, draft.channel) == ("$", "+5215512345678")


def test_unknown_piece() -> None:
    """A value or entry of an unknown kind is kept beside what is known."""
    known = samples.change(samples.value(messages=[samples.text_message()]))
    strange = samples.change(samples.value(contacts=[samples.contact()], novelties=[{}]))
    page = {"id": samples.ACCOUNT, "time": 1, "messaging": [{}]}
    drafts = events(samples.cloud(samples.entry(known, strange), page))
    assert [(draft.path, draft.subtype, draft.channel) for draft in drafts] == [
        ("$.entry[0].changes[0].value.messages[0]", "text", samples.NUMBER),
        ("$.entry[0].changes[1]", "unrecognised", samples.NUMBER),
        ("$.entry[1]", "unrecognised", samples.ACCOUNT),
    ]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>", b"\xff", b'{"messages": []} x', b"[" * 9999]
)
def test_unreadable(body: bytes) -> None:
    """What is not JSON is refused, and with nothing but `Unreadable`."""
    with pytest.raises(Unreadable):
        split(body)


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


# Whatever comes


def test_thousand() -> None:
    """A batch of a thousand statuses gives a thousand events with different keys."""
    drafts = events(samples.cloud_value(statuses=[samples.status("sent", n) for n in range(1000)]))
    assert len({key_of("wa", draft, b"") for draft in drafts}) == 1000


def test_deep_nesting() -> None:
    """Nesting is followed as deep as a body may have it, within every field."""
    deep = json.loads("[" * 400 + "]" * 400)
    drafts = events(
        samples.cloud_value(messages=[samples.text_message(image=deep, **{"from": deep})])
    )
    assert kinds(drafts) == [("message", "text")]
    assert only(samples.cloud_field("calls", deep=deep)).natural_key is not None


def assert_sound(body: bytes) -> None:
    """Split ``body`` and hold the result to everything that is promised of any body."""
    try:
        drafts = split(body, channel="+52")
    except Unreadable:
        return
    data = bodies.decode(body)
    assert drafts
    assert drafts == split(body, channel="+52")
    assert len({draft.path for draft in drafts}) == len(drafts)
    for draft in drafts:
        paths.find(data, draft.path)
        assert draft.type in EVENT_TYPES
        assert draft.subtype
        texts = [draft.subtype, draft.channel, draft.conversation, draft.external_id or ""]
        assert all(len(text.encode()) <= 4 * 512 and "\0" not in text for text in texts)
        assert draft.external_id != ""
        assert draft.occurred_at is None or draft.occurred_at.tzinfo is UTC
        assert len(key_of("wa", draft, body)) == 16


@given(st.binary())
@settings(deadline=None)
def test_any_bytes(body: bytes) -> None:
    """Any bytes give events or are refused as unreadable."""
    assert_sound(body)


@given(json_values())
@settings(deadline=None)
def test_any_json(value: object) -> None:
    """Any JSON value gives events whose paths, texts and times can be used."""
    assert_sound(samples.as_body(value))


@given(mutated(samples.all_samples()))
@settings(deadline=None)
def test_mutated_samples(body: bytes) -> None:
    """Samples with anything at all in any place of theirs do so too."""
    assert_sound(body)
