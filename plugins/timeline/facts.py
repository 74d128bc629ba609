"""What a single event says: a step of its conversation, and a little of a message's record."""

import json

from router import Event
from router.bodies import find
from router.events import as_micros
from router.plugins.timeline.model import STATES, Message, Step


def is_status(event: Event) -> bool:
    """Whether the event is a status of a message that the business sent.

    What the router has no type for, such as ``played``, is one where the element itself says so:
    other events of that type are about accounts, calls or templates.
    """
    if event.external_id is None or event.type == "message":
        return False
    return event.type != "other" or find(event.payload, "status") == event.subtype


def read_status(event: Event) -> Message:
    """Return what a status says of its message; ``event`` is one, see `is_status`."""
    word = {"error": "failed", "other": event.subtype}.get(event.type, event.type)
    pricing = _as_json(find(event.payload, "pricing"))
    return Message(
        message_id=event.external_id or "",
        channel=event.channel,
        subject=event.subject,
        errors=_read_errors(event) if word == "failed" else None,
        priced_by=word if pricing else None,
        pricing=pricing,
        **{f"{word}_at": _time_of(event)} if word in STATES else {},
    )


def read_step(event: Event) -> Step:
    """Return the event as a step of its conversation."""
    return Step(
        position=event.position,
        subject=event.subject,
        at=_time_of(event),
        type=event.type,
        subtype=event.subtype,
        message_id=event.external_id,
        errors=_read_errors(event),
    )


def _time_of(event: Event) -> int:
    return as_micros(event.occurred_at or event.received_at)


def _read_errors(event: Event) -> str | None:
    """Return the errors in a message or status, or the error that the event is itself."""
    is_itself = event.type == "error" and event.external_id is None
    errors = [event.payload] if is_itself else find(event.payload, "errors")
    return _as_json(errors if isinstance(errors, list | None) else [errors])


def _as_json(value: object) -> str | None:
    """Return ``value`` as JSON in ASCII, which every database takes; None for nothing."""
    return json.dumps(value, sort_keys=True) if value else None
