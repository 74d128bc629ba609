"""Notifications made up for the tests, built from small pieces."""

import json
from collections.abc import Mapping

Json = dict[str, object]

ACCOUNT = "700100200300400"
NUMBER = "550066007700880"
CUSTOMER = "5215500001111"
MOMENT = "1790000000"  # 2026-09-21T14:13:20Z


def as_body(value: object) -> bytes:
    """Return ``value`` as the bytes of a request."""
    return json.dumps(value).encode()


def text_message(number: int = 1, /, **changes: object) -> Json:
    """Return an inbound text."""
    message: Json = {
        "from": CUSTOMER,
        "id": f"wamid.IN{number}",
        "timestamp": MOMENT,
        "type": "text",
        "text": {"body": f"Do you have size {number}?"},
    }
    return _changed(message, changes)


def status(word: str = "sent", number: int = 1, /, **changes: object) -> Json:
    """Return a status of an outgoing message, with its price."""
    told: Json = {
        "id": f"wamid.OUT{number}",
        "status": word,
        "timestamp": MOMENT,
        "recipient_id": CUSTOMER,
        "pricing": {"billable": True, "pricing_model": "PMP", "category": "utility"},
    }
    return _changed(told, changes)


def failure(code: int = 131026, number: int = 1, /, **changes: object) -> Json:
    """Return the status of a message that could not be sent."""
    return status("failed", number, errors=[error(code)], **changes)


def error(code: int = 131000, /, **changes: object) -> Json:
    """Return an element of ``errors``."""
    return _changed({"code": code, "title": "Something went wrong"}, changes)


def contact(name: str = "Ana Ruiz", /, **changes: object) -> Json:
    """Return an element of ``contacts``."""
    return _changed({"profile": {"name": name}, "wa_id": CUSTOMER}, changes)


def value(**lists: object) -> Json:
    """Return the value of a Cloud change."""
    metadata = {"display_phone_number": "15550001122", "phone_number_id": NUMBER}
    return _changed({"messaging_product": "whatsapp", "metadata": metadata}, lists)


def change(content: object, field: object = "messages") -> Json:
    """Return an element of ``changes``."""
    return {"field": field, "value": content}


def entry(*changes: object, **others: object) -> Json:
    """Return an element of ``entry``."""
    return _changed({"id": ACCOUNT, "changes": list(changes)}, others)


def cloud(*entries: object) -> Json:
    """Return a notification of the Cloud API."""
    return {"object": "whatsapp_business_account", "entry": list(entries)}


def cloud_value(**lists: object) -> Json:
    """Return a notification of the Cloud API with one change to ``messages``."""
    return cloud(entry(change(value(**lists))))


def cloud_field(field: str, **content: object) -> Json:
    """Return a notification of the Cloud API with one change to another field."""
    return cloud(entry(change(value(**content), field)))


def cloud_batch() -> Json:
    """Return a notification of the Cloud API with several entries, changes and elements."""
    first = change(value(contacts=[contact()], messages=[text_message(1), text_message(2)]))
    second = change(value(statuses=[status("delivered", 1), failure(131026, 2)]))
    third = change(
        {"event": "APPROVED", "message_template_id": 71}, "message_template_status_update"
    )
    return cloud(entry(first, second), entry(third, id="700100200300401", time=1790000001))


def onprem_text() -> Json:
    """Return an inbound text of the On-Premises API."""
    return {"contacts": [contact()], "messages": [text_message()]}


def onprem_mixed() -> Json:
    """Return a notification of the On-Premises API that holds one of everything."""
    return {
        "contacts": [contact()],
        "messages": [text_message()],
        "statuses": [status("read")],
        "errors": [error(1015, details="Too many requests")],
    }


def calls() -> Json:
    """Return a notification about a call: its statuses are none of a message."""
    ringing = {"id": "wacid.77", "type": "call", "status": "RINGING", "timestamp": MOMENT}
    return cloud_field("calls", statuses=[ringing])


def all_samples() -> list[Json]:
    """Return one of each, for tests that mutate them."""
    return [
        cloud_batch(),
        cloud_value(messages=[text_message()], statuses=[failure()], errors=[error()]),
        onprem_text(),
        onprem_mixed(),
        calls(),
        cloud_field("smb_message_echoes", message_echoes=[text_message(3, to=CUSTOMER)]),
    ]


def _changed(element: Json, changes: Mapping[str, object]) -> Json:
    """Lay ``changes`` over ``element``; None takes a key away."""
    merged = {**element, **changes}
    return {key: content for key, content in merged.items() if content is not None}
