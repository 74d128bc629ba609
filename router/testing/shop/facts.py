"""What a notification is made of, and what a receiver must find in it."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from router.events import EventType

Json = dict[str, object]
Shape = Literal["cloud", "onprem"]
Place = Literal["messages", "statuses", "errors", "field"]


class Expected(msgspec.Struct, frozen=True):
    """An event that a receiver must find.

    Attributes:
        type: Its type.
        subtype: The provider's finer word.
        external_id: The provider's id of the message; None where there is none.
        conversation: The group, or else the contact; empty where there is none.
        natural_id: What tells it from all others; `identify` finds it in an exported event.
    """

    type: EventType
    subtype: str
    external_id: str | None
    conversation: str
    natural_id: str


class Fact(msgspec.Struct, frozen=True):
    """One thing that happened at the shop.

    Attributes:
        place: The list that it stands in; "field" for a Cloud change of its own.
        element: The JSON object, in the form of its shape.
        expected: The event that it becomes.
        contacts: What stands beside it in ``contacts``.
        at: Seconds since 1970.
    """

    place: Place
    element: Json
    expected: Expected
    contacts: tuple[Json, ...] = ()
    at: int = 0


class Posting(msgspec.Struct, frozen=True):
    """A notification, ready to be sent.

    Attributes:
        number: Counts from 0 in the order of sending.
        body: Its bytes.
        expected: The events in it, in the order in which they stand there.
        copy_of: The number of the one that it repeats byte for byte; None where it is new.
    """

    number: int
    body: bytes
    expected: tuple[Expected, ...]
    copy_of: int | None = None


def expect_message(message: Json, conversation: str) -> Expected:
    """Return the event of an inbound message."""
    id_, subtype = str(message["id"]), str(message["type"])
    return Expected("message", subtype, id_, conversation, _join("message", id_))


_TYPES: Mapping[str, EventType] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "failed": "error",
}


def expect_status(status: Json, conversation: str) -> Expected:
    """Return the event of a status."""
    word, id_ = str(status["status"]), str(status["id"])
    member = str(status.get("recipient_participant_id", ""))
    natural = _join(word, id_, member)
    return Expected(_TYPES.get(word, "other"), word, id_, conversation, natural)


def expect_error(error: Json) -> Expected:
    """Return the event of an error that stands by itself; the shop's all differ in ``href``."""
    code = str(error["code"])
    return Expected("error", code, None, "", _join("error", code, str(error["href"])))


def expect_field(field: str, id_: str, *, is_message: bool) -> Expected:
    """Return the event of a Cloud change whose field is not ``messages``.

    Args:
        field: Its name.
        id_: What its value is told from others by.
        is_message: Whether that is the id of a message, or of a template.
    """
    return Expected("other", field, id_ if is_message else None, "", _join(field, id_))


def identify(event: Mapping[str, object]) -> str:
    """Return the natural id of an event as `router events export` prints it.

    For events of a `Shop` alone: two of anybody's may share one.
    """
    payload = event.get("payload")
    found = payload if isinstance(payload, dict) else {}
    id_ = str(event.get("external_id") or "")
    subtype = str(event.get("subtype"))
    if event.get("type") == "message":
        return _join("message", id_)
    if "field" in found:
        value = found.get("value")
        template = value.get("message_template_id") if isinstance(value, dict) else None
        return _join(subtype, id_ or str(template))
    if "code" in found:
        return _join("error", subtype, str(found.get("href")))
    return _join(subtype, id_, str(found.get("recipient_participant_id", "")))


def _join(*parts: str) -> str:
    return " ".join(part for part in parts if part)
