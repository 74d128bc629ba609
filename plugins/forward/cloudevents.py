"""Events as CloudEvents 1.0 in structured mode: one JSON object with context and data."""

from urllib.parse import quote

from router import Event, bodies
from router.events import as_rfc3339

MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"


def encode(event: Event, *, origin: str, prefix: str) -> bytes:
    """Return ``event`` as the body of a request.

    Args:
        event: The event.
        origin: The URL under which this router is known; empty for a relative ``source``.
        prefix: What its ``type`` begins with.
    """
    return bodies.encode(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": f"{origin.rstrip('/')}/webhooks/{quote(event.source, safe='')}",
            "type": f"{prefix}.{event.type}",
            "subject": event.subject,
            "time": as_rfc3339(event.occurred_at or event.received_at),
            "datacontenttype": "application/json",
            **_extend(event),
            "data": event.payload,
        }
    )


def _extend(event: Event) -> dict[str, str]:
    """Return the attributes that CloudEvents does not know; none of them is empty."""
    found = {
        "sequence": f"{event.position:020}",  # a text, in whose order the positions are
        "subtype": event.subtype,
        "channel": event.channel,
        "externalid": event.external_id or "",
        "replay": str(event.replay.id) if event.replay else "",
    }
    return {name: value for name, value in found.items() if value}
