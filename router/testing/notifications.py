"""Notifications of WhatsApp as they come, of every type of event and in both shapes: to be sent.

Each function returns the bytes of a body with one event; `together` makes one body of several.
Ids are new with each call unless they are given, since the log drops what it knows already.
"""

import json
from collections.abc import Mapping
from random import Random
from typing import Any, get_args
from uuid import uuid4

import msgspec

from router.testing.shop.contents import Contents, Pen
from router.testing.shop.envelopes import write_body
from router.testing.shop.facts import Fact, Json, Shape, expect_field, expect_message
from router.testing.shop.people import Person
from router.testing.shop.receipts import Sent, write_status, write_trouble
from router.testing.shop.shop import START

__all__ = [
    "CUSTOMER",
    "SHAPES",
    "Shape",
    "error",
    "field",
    "kinds",
    "message",
    "status",
    "together",
]

CUSTOMER = "12015550123"  # a number that is set aside for fiction
SHAPES: tuple[Shape, ...] = get_args(Shape)


def kinds(shape: Shape = "cloud") -> list[str]:
    """Return the types of messages that a shape knows: ``text``, ``image``, ``order`` …."""
    return sorted(Contents(shape).kinds)


def message(
    text: str = "Hello",
    *,
    kind: str = "text",
    sender: str = CUSTOMER,
    name: str = "Ada Muster",
    group: str = "",
    id: str | None = None,  # noqa: A002 - the provider's word
    at: int = START,
    shape: Shape = "cloud",
    **content: object,
) -> bytes:
    """Return the notification of a message that a customer sends.

    Args:
        text: What it says, where it is a text.
        kind: What it is, one of `kinds`.
        sender: The customer's number.
        name: What the customer is called.
        group: The id of the group that it is sent to; empty for none.
        id: The provider's id; None makes a new one.
        at: When it was sent, in seconds since 1970.
        shape: Of the Cloud API, or the On-Premises API.
        content: Laid over the message: ``context={"id": "wamid.1"}``.

    Raises:
        ValueError: The shape has no such kind of message.
    """
    contents, id_ = Contents(shape), id or make_id(shape)
    if kind not in contents.kinds:
        raise ValueError(f"{kind!r} is no type of message: known are {', '.join(kinds(shape))}")
    pen = Pen(Random(0), shape, id_.rpartition(".")[2], f"{id_}-former", sender, at)  # noqa: S311
    element: Json = {"from": sender, "id": id_, "timestamp": str(at)}
    element |= contents.write_as(kind, pen)
    if kind == "text":
        element["text"] = {"body": text}
    if group:
        element["group_id"] = group
    element |= content
    contacts = (Person(sender, name).as_contact(),) if kind != "system" else ()
    fact = Fact("messages", element, expect_message(element, group or sender), contacts, at)
    return write_body([fact], shape)[0]


def status(
    word: str,
    *,
    id: str | None = None,  # noqa: A002 - the provider's word
    recipient: str = CUSTOMER,
    code: int | None = None,
    at: int = START,
    shape: Shape = "cloud",
    **content: object,
) -> bytes:
    """Return the notification of what has become of a message of the business.

    Args:
        word: ``sent``, ``delivered``, ``read``; ``failed`` is an event of type error, any other
            word, such as ``played``, one of type other.
        id: Of the message; None makes a new one.
        recipient: The customer's number.
        code: Of the error, where it failed.
        at: When, in seconds since 1970.
        shape: Of the Cloud API, or the On-Premises API.
        content: Laid over the status.
    """
    sent = Sent(id or make_id(shape), (Person(recipient, "Ada Muster"),), "utility")
    (fact,) = write_status(sent, word, shape=shape, at=at, chance=Random(0))  # noqa: S311
    element = fact.element | content
    errors = element.get("errors")
    if code is not None and isinstance(errors, list):
        element["errors"] = [{**errors[0], "code": code}]
    return write_body([msgspec.structs.replace(fact, element=element)], shape)[0]


def error(
    code: int | None = None, *, at: int = START, shape: Shape = "cloud", **content: object
) -> bytes:
    """Return the notification of an error that belongs to no message.

    Args:
        code: Of the error.
        at: When, in seconds since 1970.
        shape: Of the Cloud API, or the On-Premises API.
        content: Laid over the error.
    """
    fact = write_trouble(uuid4().hex, shape=shape, at=at, chance=Random(0))  # noqa: S311
    element = fact.element | ({} if code is None else {"code": code}) | content
    return write_body([msgspec.structs.replace(fact, element=element)], shape)[0]


def field(
    name: str = "account_update", value: Mapping[str, object] | None = None, *, at: int = START
) -> bytes:
    """Return the Cloud notification of a change to a field other than ``messages``.

    Args:
        name: Of the field.
        value: Its content.
        at: When, in seconds since 1970.
    """
    held: Json = dict(value) if value is not None else {"event": "VERIFIED_ACCOUNT"}
    expected = expect_field(name, "", is_message=False)
    fact = Fact("field", {"field": name, "value": held}, expected, at=at)
    return write_body([fact], "cloud")[0]


def together(*bodies: bytes) -> bytes:
    """Return one notification with all that the ``bodies`` hold, which are of one shape.

    Raises:
        ValueError: They are of both shapes, or there is none.
    """
    read: list[dict[str, Any]] = [json.loads(body) for body in bodies]
    shapes = {"entry" in one for one in read}
    if len(shapes) != 1:
        raise ValueError("one notification is of one shape, and holds something")
    merged: dict[str, Any] = {}
    for one in read:
        for key, held in one.items():
            merged[key] = _merge(merged[key], held) if key in merged else held
    return json.dumps(merged).encode()


def _merge(known: object, more: object) -> object:
    if isinstance(known, list) and isinstance(more, list):
        return [*known, *(one for one in more if one not in known)]
    return known


def make_id(shape: Shape) -> str:
    """Return an id that no other message has."""
    return f"{'wamid' if shape == 'cloud' else 'gB'}.{uuid4().hex.upper()}"
