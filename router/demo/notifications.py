"""The bodies that the providers of the story post, On-Premises and Cloud."""

import base64
import json
from hashlib import sha256

Json = dict[str, object]

ONLINE_NUMBER = {"display_phone_number": "12025550101", "phone_number_id": "204060801030507"}
ONLINE_ACCOUNT = "102030405060708"

ANA, BEN, CHLOE, DAN = "12025550123", "12025550145", "12025550167", "12025550189"
QUESTION, ANSWER = "gBGGEgJVUBIjAgkRcCpvm3eQ0dA", "gBEGEgJVUBIjAgmLx0WbSP0uTgQ"  # ids of messages


def write_question(now: int) -> bytes:
    """Return the On-Premises notification of a text that Ana sends."""
    text = "Hello! Is the cast-iron kettle back in stock?"
    message = _text(ANA, QUESTION, text, now)
    return _encode({"contacts": [_contact(ANA, "Ana")], "messages": [message]})


def write_receipt(status: str, now: int) -> bytes:
    """Return the On-Premises notification of what became of the answer to Ana."""
    found = _status(ANA, ANSWER, status, now)
    if status != "read":
        origin = {"id": "5b1e2f6c0a9d4e73", "origin": {"type": "service"}}
        found |= {"conversation": origin, "pricing": _pricing("CBP", "service", is_billed=True)}
    return _encode({"statuses": [found]})


def write_trouble() -> bytes:
    """Return the On-Premises notification of an error that belongs to no message."""
    details = "A received picture could not be fetched: the media server does not answer"
    return _encode({"errors": [{"code": 400, "title": "Media download error", "details": details}]})


def write_batch(now: int) -> bytes:
    """Return a Cloud notification with three entries: five events for all kinds of handlers."""
    order = {
        "catalog_id": "306090120150180",
        "product_items": [
            _item("assam-breakfast-250g", 2, 8.5),
            _item("jasmine-pearls-100g", 1, 14),
        ],
    }
    undeliverable = {"code": 131026, "title": "Message undeliverable"}
    ben = _value(
        contacts=[_contact(BEN, "Ben")],
        messages=[_text(BEN, _wamid(BEN, "b1"), "Two tins of Assam Breakfast, please.", now)],
        statuses=[
            _status(BEN, _wamid(BEN, "b0"), "delivered", now)
            | {"pricing": _pricing("PMP", "utility", is_billed=False)}
        ],
    )
    chloe = _value(
        contacts=[_contact(CHLOE, "Chloe")],
        messages=[_message(CHLOE, _wamid(CHLOE, "c1"), now) | {"type": "order", "order": order}],
    )
    dan = _value(
        statuses=[_status(DAN, _wamid(DAN, "d0"), "failed", now) | {"errors": [undeliverable]}]
    )
    account: Json = {"phone_number": "12025550101", "event": "VERIFIED_ACCOUNT"}
    return _cloud(
        _entry(("messages", ben)),
        _entry(("messages", chloe), ("messages", dan)),
        _entry(("account_update", account)) | {"time": now},
    )


def write_damaged(now: int) -> bytes:
    """Return a Cloud notification of three messages, the second of which has lost its id."""
    damaged: Json = {"from": BEN, "timestamp": str(now), "type": "text"}
    messages: list[Json] = [
        _text(BEN, _wamid(BEN, "b2"), "And a box of Jasmine Pearls.", now),
        damaged,
        _text(BEN, _wamid(BEN, "b3"), "By Friday, if you can.", now),
    ]
    return _cloud(_entry(("messages", _value(contacts=[_contact(BEN, "Ben")], messages=messages))))


def write_forgery(now: int) -> bytes:
    """Return a Cloud notification that is well made, for somebody to send who is not Meta."""
    messages = [_text(DAN, _wamid(DAN, "x1"), "Send everything to my new address.", now)]
    return _cloud(_entry(("messages", _value(messages=messages))))


def _cloud(*entries: Json) -> bytes:
    return _encode({"object": "whatsapp_business_account", "entry": list(entries)})


def _entry(*changes: tuple[str, Json]) -> Json:
    made = [{"field": field, "value": value} for field, value in changes]
    return {"id": ONLINE_ACCOUNT, "changes": made}


def _value(**lists: list[Json]) -> Json:
    return {"messaging_product": "whatsapp", "metadata": ONLINE_NUMBER, **lists}


def _contact(number: str, name: str) -> Json:
    return {"profile": {"name": name}, "wa_id": number}


def _text(sender: str, id_: str, text: str, now: int) -> Json:
    return _message(sender, id_, now) | {"type": "text", "text": {"body": text}}


def _message(sender: str, id_: str, now: int) -> Json:
    return {"from": sender, "id": id_, "timestamp": str(now)}


def _status(recipient: str, id_: str, status: str, now: int) -> Json:
    return {"id": id_, "recipient_id": recipient, "status": status, "timestamp": str(now)}


def _pricing(model: str, category: str, *, is_billed: bool) -> Json:
    return {"pricing_model": model, "billable": is_billed, "category": category}


def _item(product: str, quantity: int, price: float) -> Json:
    return {
        "product_retailer_id": product,
        "quantity": quantity,
        "item_price": price,
        "currency": "USD",
    }


def _wamid(number: str, which: str) -> str:
    """Return an id as the Cloud API makes them: who, and which message, in base64."""
    message = sha256(which.encode()).hexdigest()[:18].upper()
    raw = (
        b"\x1c\x18\x0b" + number.encode() + b"\x15\x02\x00\x11\x18\x12" + message.encode() + b"\x00"
    )
    return f"wamid.{base64.b64encode(raw).decode()}"


def _encode(body: Json) -> bytes:
    return json.dumps(body, indent=2).encode()
