"""The read model: its two tables, their rows as records, and how two rows become one."""

import json
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Column, Index, MetaData, Row, String, Table, Text

from router.events import as_rfc3339, from_micros

METADATA = MetaData()

# Times are microseconds since 1970 in UTC, as in the log; errors and pricing are JSON.
MESSAGES = Table(
    "timeline_message",
    METADATA,
    Column("message_id", String(512), primary_key=True),
    Column("channel", String(512), primary_key=True),
    Column("subject", Text, nullable=False),
    Column("state", String(16)),
    Column("sent_at", BigInteger),
    Column("delivered_at", BigInteger),
    Column("read_at", BigInteger),
    Column("played_at", BigInteger),
    Column("failed_at", BigInteger),
    Column("errors", Text),
    Column("priced_by", Text),
    Column("pricing", Text),
)
STEPS = Table(
    "timeline_step",
    METADATA,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("subject", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("type", String(16), nullable=False),
    Column("subtype", Text, nullable=False),
    Column("message_id", Text),
    Column("errors", Text),
    Index("ix_timeline_step_subject_position", "subject", "position"),
)

STATES = ("sent", "failed", "delivered", "read", "played")  # each beats those before it
_RANKS = {state: rank for rank, state in enumerate(STATES, start=1)}


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A message of the business, as far as its statuses tell.

    One status tells a little, `merge` adds up. The time of a status is the provider's own; where it
    gave none, it is when the router received it.

    Attributes:
        message_id: The provider's id (WhatsApp's wamid).
        channel: The business's number or account.
        subject: The conversation, ``channel:conversation``.
        sent_at: When it was first said to be sent, in microseconds since 1970; None for not yet.
        delivered_at: Likewise; None is also what a message has that was read as it arrived, for
            then WhatsApp leaves ``delivered`` out.
        read_at: Likewise.
        played_at: Likewise, of a voice message.
        failed_at: Likewise.
        errors: What the first failure gave as its reason, as JSON.
        priced_by: The status that told the price.
        pricing: The price, as JSON.
    """

    message_id: str
    channel: str
    subject: str
    sent_at: int | None = None
    delivered_at: int | None = None
    read_at: int | None = None
    played_at: int | None = None
    failed_at: int | None = None
    errors: str | None = None
    priced_by: str | None = None
    pricing: str | None = None

    @property
    def state(self) -> str | None:
        """How far it got: the last of `STATES` that has a time; None where no known status came.

        What reached one device has arrived, whatever another one reports: so ``delivered``, and all
        that implies it, beats ``failed``, whichever of them came first. Both orders occur where the
        customer has several devices (YCloud, "WhatsApp Message Updated Webhook Examples"; Vonage,
        article 14317458732828). ``read`` implies ``delivered`` (Meta, "Webhooks components",
        ``statuses.status``).
        """
        known = [state for state in STATES if getattr(self, f"{state}_at") is not None]
        return known[-1] if known else None

    def as_row(self) -> dict[str, object]:
        """Return it as a row of `MESSAGES`."""
        return msgspec.structs.asdict(self) | {"state": self.state}

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON output shows it."""
        return {
            "message_id": self.message_id,
            "channel": self.channel,
            "subject": self.subject,
            "state": self.state,
            "sent_at": _as_text(self.sent_at),
            "delivered_at": _as_text(self.delivered_at),
            "read_at": _as_text(self.read_at),
            "played_at": _as_text(self.played_at),
            "failed_at": _as_text(self.failed_at),
            "errors": json.loads(self.errors or "[]"),
            "pricing": json.loads(self.pricing or "null"),
        }


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened in a conversation: a row of `STEPS`.

    Attributes:
        position: Of the event in the log, by which steps are ordered: the providers' times are
            whole seconds.
        subject: The conversation, ``channel:conversation``.
        at: The provider's time, else that of receipt, in microseconds since 1970.
        type: The event's.
        subtype: The event's.
        message_id: The message that it is or is about; None for an error by itself.
        errors: What the provider gives as reasons, as JSON; None where it gives none.
    """

    position: int
    subject: str
    at: int
    type: str
    subtype: str
    message_id: str | None
    errors: str | None

    def as_row(self) -> dict[str, object]:
        """Return it as a row of `STEPS`."""
        return msgspec.structs.asdict(self)

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON output shows it."""
        shown = {"at": _as_text(self.at), "errors": json.loads(self.errors or "[]")}
        return msgspec.structs.asdict(self) | shown


def make_message(row: Row[Any]) -> Message:
    """Return what a row of `MESSAGES` holds."""
    return msgspec.convert(row._mapping, Message)


def make_step(row: Row[Any]) -> Step:
    """Return what a row of `STEPS` holds."""
    return msgspec.convert(row._mapping, Step)


def merge(one: Message, other: Message) -> Message:
    """Return what two records of the same message say together.

    It makes no difference which comes first, which is merged with a third one first, and whether
    one of them was merged before: each field is a minimum or a maximum of an order in which only
    equals tie.

    The earliest of each status counts; the errors are those of the earliest failure; the price is
    what the last of `STATES` says, for that of ``sent`` is an estimate (YCloud, as above).
    """
    both = (one, other)
    failure = min(both, key=_failing)
    price = max(both, key=_pricing)
    return Message(
        message_id=one.message_id,
        channel=one.channel,
        subject=max(one.subject, other.subject),  # one without a contact is less than any with one
        sent_at=_earliest(one.sent_at, other.sent_at),
        delivered_at=_earliest(one.delivered_at, other.delivered_at),
        read_at=_earliest(one.read_at, other.read_at),
        played_at=_earliest(one.played_at, other.played_at),
        failed_at=failure.failed_at,
        errors=failure.errors,
        priced_by=price.priced_by,
        pricing=price.pricing,
    )


def _as_text(micros: int | None) -> str | None:
    return None if micros is None else as_rfc3339(from_micros(micros))


def _earliest(*times: int | None) -> int | None:
    return min((time for time in times if time is not None), default=None)


def _failing(message: Message) -> tuple[bool, int, bool, str]:
    """Order by the time of failure, and of the same time by the errors; those without are last."""
    at, errors = message.failed_at, message.errors
    return at is None, at or 0, errors is None, errors or ""


def _pricing(message: Message) -> tuple[int, str, str]:
    """Order by the rank of the status that told the price, and of the same one by its text."""
    status = message.priced_by or ""
    return _RANKS.get(status, 0), status, message.pricing or ""
