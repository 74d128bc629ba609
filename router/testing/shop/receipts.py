"""What becomes of the messages that the shop sends: statuses, prices, conversations, failures."""

from collections.abc import Iterator
from random import Random

import msgspec

from router.testing.shop.facts import Fact, Json, Shape, expect_error, expect_status
from router.testing.shop.people import Person

_DAY = 86_400
_FAILURES = {
    "cloud": (
        (131026, "Message undeliverable"),
        (131047, "Re-engagement message"),
        (131049, "Not sent, to keep the ecosystem healthy"),
        (130472, "User's number is part of an experiment"),
    ),
    "onprem": (
        (470, "Message failed to send because more than 24 hours have passed"),
        (1013, "User is not valid"),
        (1026, "Receiver incapable"),
        (480, "User potentially changed"),
    ),
}
_TROUBLES = {
    "cloud": ((131000, "Something went wrong"), (131053, "Media upload error")),
    "onprem": ((400, "Media download error"), (1015, "Too many requests")),
}
_CATEGORIES = ("marketing", "utility", "authentication", "service")


class Sent(msgspec.Struct, frozen=True):
    """A message of the shop's.

    Attributes:
        id: The provider's.
        to: Who gets it; the members, where it goes to a group.
        category: What is charged for it.
        group: The group's id; empty where it goes to one person.
    """

    id: str
    to: tuple[Person, ...]
    category: str
    group: str = ""


def draw_category(chance: Random) -> str:
    """Return what is charged for a message."""
    return chance.choice(_CATEGORIES)


def draw_course(chance: Random, shape: Shape) -> list[tuple[str, int]]:
    """Return which statuses a message gets, each with how many notifications later it comes.

    Most are sent, delivered and read. A few are read on arrival, so that ``delivered`` is left
    out; a few fail; and with several devices, ``delivered`` may even follow ``failed``.
    """
    lot = chance.random()
    sent, later, last = chance.randint(1, 5), chance.randint(6, 40), chance.randint(45, 400)
    if lot < 0.03:
        course = [("failed", later)]
        return [*course, ("delivered", last)] if lot < 0.002 else course
    if lot < 0.10:
        return [("sent", sent), ("read", later)]
    course = [("sent", sent), ("delivered", later)]
    if lot < 0.75:
        course.append(("read", last))
    if lot < 0.12:
        course.append(("played" if shape == "cloud" else "deleted", last + 5))
    elif lot < 0.13 and shape == "onprem":
        course.append(("warning", sent))
    return course


def write_status(sent: Sent, word: str, *, shape: Shape, at: int, chance: Random) -> Iterator[Fact]:
    """Yield what is told of a message: for a group, once for each member but for ``sent``."""
    if not sent.group or word in ("sent", "failed"):
        yield _write_one(sent, word, shape, at, chance, member=None)
    else:
        for member in sent.to:
            yield _write_one(sent, word, shape, at, chance, member=member)


def write_trouble(tag: str, *, shape: Shape, at: int, chance: Random) -> Fact:
    """Return an error that belongs to no message; ``tag`` makes it unlike all others."""
    error = _write_error(chance.choice(_TROUBLES[shape]), shape, tag)
    return Fact("errors", error, expect_error(error), at=at)


def _write_one(
    sent: Sent, word: str, shape: Shape, at: int, chance: Random, *, member: Person | None
) -> Fact:
    person = sent.to[0]
    status: Json = {"id": sent.id, "status": word, "timestamp": str(at)}
    if sent.group:
        status |= {"recipient_id": sent.group, "recipient_type": "group"}
    elif shape == "onprem" and chance.random() < 0.5:  # it names the recipient in either place
        status["message"] = {"recipient_id": person.number}
    else:
        status["recipient_id"] = person.number
    if shape == "onprem":
        status["type"] = "message"
    elif person.user_id and not sent.group:
        status["recipient_user_id"] = person.user_id
    if member is not None:
        status["recipient_participant_id"] = member.number
    if word in ("sent", "delivered"):
        status |= _write_price(sent, word, shape, at)
    elif word == "failed":
        status["errors"] = [_write_error(chance.choice(_FAILURES[shape]), shape, "")]
    elif word == "warning":
        status["errors"] = [{"code": 2026, "title": "Some products are not available"}]
    conversation = sent.group or person.conversation
    return Fact("statuses", status, expect_status(status, conversation), _beside(sent, shape), at)


def _write_price(sent: Sent, word: str, shape: Shape, at: int) -> Json:
    conversation: Json = {"id": f"conversation-{sent.id}", "origin": {"type": sent.category}}
    if word == "sent":
        end = at + _DAY
        conversation["expiration_timestamp"] = str(end) if shape == "cloud" else end
    is_free = sent.category == "service"
    pricing: Json = {
        "billable": not is_free,
        "pricing_model": "PMP" if shape == "cloud" else "CBP",
        "category": sent.category,
    }
    if shape == "cloud":
        pricing["type"] = "free_customer_service" if is_free else "regular"
    return {"conversation": conversation, "pricing": pricing}


def _write_error(known: tuple[int, str], shape: Shape, tag: str) -> Json:
    code, title = known
    error: Json = {"code": code, "title": title, "href": f"https://errors.example/{code}/{tag}"}
    details = "This happened in a simulation."
    if shape == "cloud":
        return error | {"message": title, "error_data": {"details": details}}
    return error | {"details": details}


def _beside(sent: Sent, shape: Shape) -> tuple[Json, ...]:
    """Return ``contacts``, which from 2026 stand beside statuses of the Cloud API, too."""
    return (sent.to[0].as_contact(),) if shape == "cloud" and not sent.group else ()
