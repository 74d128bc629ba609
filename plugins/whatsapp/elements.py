"""What one element of a WhatsApp body says: its type, who, when, and how it is known again."""

import json
from datetime import UTC, datetime
from hashlib import sha256

import msgspec

from router.events import Draft, EventType

Element = dict[str, object]

MAX_TEXT = 512  # bytes in UTF-8; longer than any id that the providers document

# Cloud fields whose values name each thing by its id and time: equal ones are the same event.
_SELF_NAMED = frozenset(
    {
        "calls",
        "history",
        "smb_app_state_sync",
        "smb_message_echoes",
        "user_id_update",
        "user_preferences",
    }
)
_TYPES: dict[str, EventType] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "failed": "error",
}


def is_text(value: str) -> bool:
    """Whether ``value`` names something, in a form that every database takes.

    Not so where it is empty, longer than `MAX_TEXT`, or holds NUL or half of a surrogate pair.
    """
    if not 0 < len(value) <= MAX_TEXT or "\0" in value:
        return False
    if value.isascii():  # as ids are
        return True
    try:
        return len(value.encode()) <= MAX_TEXT
    except UnicodeEncodeError:
        return False


def find_text(element: Element, *keys: str) -> str | None:
    """Return the first of the values that `is_text`; a whole number is, as its digits."""
    for key in keys:
        value = element.get(key)
        if value is None:  # most often: this is the hottest line of all
            continue
        if type(value) is int:
            value = str(value)
        if type(value) is str and is_text(value):
            return value
    return None


def find_moment(value: object) -> datetime | None:
    """Return the moment that seconds since 1970, or a text in ISO 8601, stand for."""
    try:
        if type(value) is str:
            if not (value.isascii() and value.isdecimal()):
                return _parse_iso(value)
            value = int(value)
        if type(value) is int and value >= 0:
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None


def _parse_iso(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def find_only_contact(value: Element) -> str:
    """Return who ``contacts`` names, where it names just one."""
    contacts = value.get("contacts")
    if type(contacts) is list and len(contacts) == 1 and type(contacts[0]) is dict:
        return find_text(contacts[0], "user_id", "wa_id") or ""
    return ""


def read_message(message: Element, *, path: str, channel: str, contact: str) -> Draft:
    """Return the event of one element of ``messages``; ``contact`` where it names nobody."""
    id_ = find_text(message, "id")
    if id_ is None:
        return malformed(path, channel=channel)
    sender = find_text(message, "group_id", "from_user_id", "from_bsuid", "from")
    return Draft(
        path=path,
        type="message",
        subtype=find_text(message, "type") or "unknown",
        channel=channel,
        conversation=sender or contact,
        external_id=id_,
        occurred_at=find_moment(message.get("timestamp")),
        natural_key=("message", channel, id_),
    )


def read_status(status: Element, *, path: str, channel: str, contact: str) -> Draft:
    """Return the event of one element of ``statuses``; ``contact`` where it names nobody."""
    id_, word = find_text(status, "id"), find_text(status, "status")
    if id_ is None or word is None:
        return malformed(path, channel=channel)
    # A group's receipts come as one status a participant, all for the same message.
    member = find_text(status, "recipient_participant_id", "recipient_participant_user_id") or ""
    key: tuple[str, ...] = ("status", channel, id_, word, member)
    if word == "failed":
        key = (*key, _find_code(status))
    return Draft(
        path=path,
        type=_TYPES.get(word, "other"),
        subtype=word,
        channel=channel,
        conversation=_find_recipient(status) or contact,
        external_id=id_,
        occurred_at=find_moment(status.get("timestamp")),
        natural_key=key,
    )


def _find_recipient(status: Element) -> str | None:
    group = status.get("recipient_type") == "group"  # then `recipient_id` is the group's
    keys = ("group_id", "recipient_id") if group else ("group_id",)
    message = status.get("message")
    return find_text(status, *keys, "recipient_user_id", "recipient_id") or (
        find_text(message, "recipient_id") if type(message) is dict else None
    )


def _find_code(status: Element) -> str:
    errors = status.get("errors")
    first = errors[0] if type(errors) is list and errors else None
    return find_text(first, "code") or "" if type(first) is dict else ""


def read_error(error: Element, *, path: str, channel: str, contact: str) -> Draft:
    """Return the event of an error that stands by itself: nothing tells it from its recurrence."""
    return Draft(
        path=path,
        type="error",
        subtype=find_text(error, "code") or "unknown",
        channel=channel,
        conversation=contact,
        occurred_at=find_moment(error.get("timestamp")),
    )


def read_field(field: str, change: Element, entry: Element, *, path: str, channel: str) -> Draft:
    """Return the one event of a Cloud change whose ``field`` is not ``messages``."""
    value, time = change.get("value"), find_text(entry, "time")
    key = None
    if time is not None or (field in _SELF_NAMED and value):
        key = ("field", channel, field, time or "", sha256(_canonical(value)).hexdigest())
    return Draft(
        path=path,
        type="other",
        subtype=field,
        channel=channel,
        external_id=_find_first_id(value),
        occurred_at=find_moment(entry.get("time")),
        natural_key=key,
    )


def _find_first_id(value: object) -> str | None:
    if type(value) is not dict:
        return None
    for name in ("calls", "message_echoes", "statuses", "messages"):
        found = value.get(name)
        if type(found) is list and found and type(found[0]) is dict:
            return find_text(found[0], "id")
    return None


def _canonical(value: object) -> bytes:
    """The same bytes for equal values, whatever order their keys came in."""
    try:
        return msgspec.json.encode(value, order="deterministic")
    except UnicodeEncodeError:
        return json.dumps(value, sort_keys=True).encode("ascii")


def malformed(path: str, *, channel: str) -> Draft:
    """Return the event of what is not built as its place demands."""
    return Draft(path=path, type="other", subtype="malformed", channel=channel)


def unrecognised(path: str, *, channel: str) -> Draft:
    """Return the event of what may be sound but is nothing that is known here."""
    return Draft(path=path, type="other", subtype="unrecognised", channel=channel)
