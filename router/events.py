"""The records that flow through the house: notifications, the events inside them, their names."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from hashlib import blake2b, sha256
from typing import Literal, get_args

import msgspec

from router import bodies, paths
from router.errors import Unreadable

EventType = Literal["message", "sent", "delivered", "read", "error", "other"]
EVENT_TYPES: tuple[EventType, ...] = get_args(EventType)

SHARDS = 1024
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EXACT = 1 << 52  # microseconds, until 2112: seconds as floats tell them all apart
_VARIANTS = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}  # of a UUID
_ID_DIGITS = re.compile(r"[0-9a-f]{12}8[0-9a-f]{3}[89ab][0-9a-f]{15}", re.IGNORECASE)


class Notification(msgspec.Struct, frozen=True, dict=True):
    """One HTTP request of a provider, kept byte for byte.

    Attributes:
        source: The name of the configured origin.
        received_at: When the request was read, in UTC.
        headers: Lower-case names; those that carry credentials are left out.
        body: The bytes as they came.
        id: The position of its first event, or 0 while it is not in the log.
        trace: The trace context in which it was received, where the router traces: what W3C's
            header ``traceparent`` holds, and behind a space what ``tracestate`` does, if anything.
    """

    source: str
    received_at: datetime
    headers: Mapping[str, str]
    body: bytes
    id: int = 0
    trace: str | None = None

    @cached_property
    def data(self) -> object:
        """The body, decoded once; None where it is not JSON."""
        try:
            return bodies.decode(self.body)
        except Unreadable:
            return None


class Draft(msgspec.Struct, frozen=True, gc=False):
    """An event as an adapter finds it in a body, before the log gives it a position.

    Attributes:
        path: Where it stands in the body, see `router.paths`.
        type: One of `EVENT_TYPES`.
        subtype: The provider's finer word.
        channel: The business's own number or account; empty where the body does not say.
        conversation: Group or contact; empty where there is none.
        external_id: The provider's id of the thing that the event is about.
        occurred_at: The provider's own time.
        natural_key: What the provider itself tells this event from all others by; None where an
            identical redelivery is the only thing that can be recognised.
    """

    path: str
    type: EventType
    subtype: str
    channel: str = ""
    conversation: str = ""
    external_id: str | None = None
    occurred_at: datetime | None = None
    natural_key: tuple[str, ...] | None = None

    @property
    def subject(self) -> str:
        """What order is kept for."""
        return f"{self.channel}:{self.conversation}"


class Entry(msgspec.Struct, frozen=True):
    """A notification with its drafts: what is appended in one piece."""

    notification: Notification
    drafts: Sequence[Draft]


class Unsplit(msgspec.Struct, frozen=True):
    """A notification that is an entry once it has been split.

    Attributes:
        split: Returns the drafts in a body; see `router.sources.Source`.
    """

    notification: Notification
    split: Callable[[bytes], Sequence[Draft]]

    def as_entry(self) -> Entry:
        """Split it.

        Raises:
            Unreadable: The body is not in the source's format.
        """
        return Entry(self.notification, self.split(self.notification.body))


class Replaying(msgspec.Struct, frozen=True):
    """Tells a handler that it is called by a replay, and why."""

    id: int
    reason: str


class Event(msgspec.Struct, frozen=True, gc=False):
    """One typed fact in the log. ``id`` is stable for ever and serves as idempotency key."""

    position: int
    id: str
    type: EventType
    subtype: str
    channel: str
    subject: str
    external_id: str | None
    occurred_at: datetime | None
    path: str
    notification: Notification
    replay: Replaying | None = None

    @property
    def source(self) -> str:
        """The name of the source that received it."""
        return self.notification.source

    @property
    def received_at(self) -> datetime:
        """When its notification was received, in UTC."""
        return self.notification.received_at

    @property
    def notification_id(self) -> int:
        """The id of the notification that holds it."""
        return self.notification.id

    @property
    def payload(self) -> object:
        """The element at ``path``; None where the body is not JSON, or has no such element."""
        try:
            return paths.find(self.notification.data, self.path)
        except LookupError:
            return None  # an adapter was wrong: the event can be looked at all the same

    @property
    def parent(self) -> object:
        """The object around the element: WhatsApp's ``value``, or the On-Premises root; or None."""
        try:
            return paths.find_parent(self.notification.data, self.path)
        except LookupError:
            return None

    @property
    def shard(self) -> int:
        """The shard of its subject."""
        return shard_of(self.subject)

    def as_dict(self) -> dict[str, object]:
        """The event as every JSON output shows it."""
        return {
            "position": self.position,
            "id": self.id,
            "type": self.type,
            "subtype": self.subtype,
            "source": self.source,
            "channel": self.channel,
            "subject": self.subject,
            "external_id": self.external_id,
            "occurred_at": as_rfc3339(self.occurred_at),
            "received_at": as_rfc3339(self.received_at),
            "notification_id": self.notification_id,
            "path": self.path,
            "payload": self.payload,
        }


def shard_of(subject: str) -> int:
    """Return the shard of ``subject``, 0 to 1023: its SHA-256's first two bytes, big-endian."""
    return int.from_bytes(sha256(subject.encode()).digest()[:2]) % SHARDS


def key_of(source: str, draft: Draft, body: bytes) -> bytes:
    """Return the 16 bytes by which ``draft`` is known again, whatever body brings it next.

    Without a natural key only the same element of the same body is the same event.
    """
    parts = draft.natural_key
    if parts is None:
        return _digest("body", source, sha256(body).hexdigest(), draft.path)
    return _digest("natural", source, *parts)


def _digest(*parts: str) -> bytes:
    data = [part.encode("utf-8", "surrogatepass") for part in parts]
    prefixed = b"".join([len(part).to_bytes(8) + part for part in data])
    return blake2b(prefixed, digest_size=16).digest()


def make_ids(first: int, count: int) -> list[str]:
    """Return ids for ``count`` events from position ``first`` on.

    A UUID of version 8 (RFC 9562, section 5.8): 82 random bits, so that two logs never share an
    id, then the position in the last 40 bits, so that an id is looked up without an index.
    """
    noise = os.urandom(11 * count).hex()
    ids = []
    for at in range(count):
        text = noise[at * 22 : at * 22 + 22]
        variant = _VARIANTS[text[16]]
        ids.append(
            f"{text[:8]}-{text[8:12]}-8{text[13:16]}-{variant}{text[17:20]}"
            f"-{text[20:]}{first + at:010x}"
        )
    return ids


def position_in(event_id: str) -> int | None:
    """Return the position that an id carries, or None where the text is not an id of ours."""
    digits = event_id.replace("-", "")
    return int(digits[-10:], 16) if _ID_DIGITS.fullmatch(digits) else None


def as_micros(moment: datetime) -> int:
    """Return ``moment`` as the log stores it: microseconds since 1970 in UTC."""
    since = moment - _EPOCH  # whose floor division takes twice as long
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def from_micros(micros: int) -> datetime:
    """Return the moment that `as_micros` wrote down."""
    if 0 <= micros < _EXACT:  # half as long
        return datetime.fromtimestamp(micros / 1_000_000, UTC)
    return _EPOCH + timedelta(microseconds=micros)


def as_rfc3339(moment: datetime | None) -> str | None:
    """Return ``moment`` as RFC 3339 in UTC, with a Z."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
