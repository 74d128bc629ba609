"""Tests of the splitter: which events a body holds, where they stand, and what is set aside."""

import json

import pytest

from router import paths
from router.errors import Unreadable
from router.events import key_of
from router.plugins.whatsapp.split import split
from tests import samples
from tests.plugins.splitting import events, kinds, message_of, only, status_of
from tests.samples import Json

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


def test_null_is_absent() -> None:
    """A list that is null is none at all: neither wrong, nor a sign of the other shape."""
    body = samples.onprem_text() | {"entry": None, "statuses": None, "contacts": None}
    assert [draft.path for draft in events(body)] == ["$.messages[0]"]


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


# What cannot be read


@pytest.mark.parametrize("element", [None, 1, "text", [], True])
def test_element_that_is_no_object(element: object) -> None:
    """An element that is no object is set aside, and its neighbours are not harmed."""
    drafts = events({"messages": [samples.text_message(1), element, samples.text_message(2)]})
    assert kinds(drafts) == [("message", "text"), ("other", "malformed"), ("message", "text")]
    assert drafts[1].path == "$.messages[1]"


@pytest.mark.parametrize("name", ["id", "status"])
@pytest.mark.parametrize(
    "content", [None, "", [], {}, False, 1.5, "nul\0", "half \ud800", "x" * 513, "\u20ac" * 171]
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
