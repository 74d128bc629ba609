"""What customers write: one function for each type of inbound message, in both shapes."""

from collections.abc import Callable, Mapping
from random import Random

import msgspec

from router.testing.shop.facts import Json, Shape

_TEXTS = (
    "Is the blue kettle back in stock?",
    "¿Tienen té de jazmín?",
    "Können Sie das bis Freitag liefern? 🫖",
    "茶は今日届きますか",
    "Thanks!\nThat was quick.",
    'It said "out for delivery" \\ but nothing came / so far',
)
_ITEMS = ("assam-250g", "jasmine-100g", "kettle-blue", "cup-handmade")
_EMOJI = ("👍", "🫖", "❤️", "")


class Pen(msgspec.Struct, frozen=True):
    """What a message is written with.

    Attributes:
        chance: Draws lots.
        shape: Cloud or On-Premises.
        tag: Unique among all messages of the shop.
        former: The id of an earlier message of the conversation.
        number: The sender's.
        at: Seconds since 1970.
    """

    chance: Random
    shape: Shape
    tag: str
    former: str
    number: str
    at: int

    @property
    def is_cloud(self) -> bool:
        """Whether the shape is Cloud."""
        return self.shape == "cloud"


Content = Callable[[Pen], Json]


def _text(pen: Pen) -> Json:
    return {"text": {"body": pen.chance.choice(_TEXTS)}}


def _media(kind: str, mime_type: str, **more: object) -> Content:
    """Return what writes a file of that kind; On-Premises tells where it was put."""

    def write(pen: Pen) -> Json:
        digest = pen.chance.randbytes(32).hex()
        found: Json = {"id": f"media-{pen.tag}", "mime_type": mime_type, "sha256": digest, **more}
        if pen.is_cloud:
            found["url"] = f"https://media.example/{pen.tag}"
        else:
            found["file"] = f"/usr/local/wamedia/shared/{pen.tag}"
        return {kind: found}

    return write


def _sticker(pen: Pen) -> Json:
    if pen.is_cloud:
        return _media("sticker", "image/webp", animated=pen.chance.random() < 0.5)(pen)
    # On-Premises tells of a sticker that it could not fetch, too, and then has no id for it.
    return {"sticker": {"mime_type": "image/webp", "sha256": "", "status": "undownloaded"}}


def _location(pen: Pen) -> Json:
    place: Json = {"latitude": 0.0, "longitude": round(pen.chance.uniform(-180, 180), 6)}
    if pen.chance.random() < 0.5:
        place |= {"name": "A buoy", "address": "Gulf of Guinea", "url": "https://buoy.example"}
    return {"location": place}


def _contacts(_pen: Pen) -> Json:
    name = {"formatted_name": "Max Muster", "first_name": "Max", "last_name": "Muster"}
    phone = {"phone": "+1 (202) 555-0155", "wa_id": "12025550155", "type": "WORK"}
    card = {"name": name, "phones": [phone], "emails": [], "org": {"company": "Muster Tea"}}
    return {"contacts": [card]}


def _button(pen: Pen) -> Json:
    payload = "reorder" if pen.is_cloud else None  # which On-Premises does not know
    return {
        "button": {"text": "Order again", "payload": payload},
        "context": {"from": pen.number, "id": pen.former},
    }


def _interactive(pen: Pen) -> Json:
    replies: Mapping[str, Json] = {
        "button_reply": {"id": "yes", "title": "Yes, please"},
        "list_reply": {"id": "row-2", "title": "Jasmine", "description": "100 g, loose"},
        "nfm_reply": {"name": "flow", "body": "Sent", "response_json": '{"size":"L","gift":true}'},
    }
    kind = pen.chance.choice(tuple(replies))
    return {
        "interactive": {"type": kind, kind: replies[kind]},
        "context": {"from": pen.number, "id": pen.former},
    }


def _order(pen: Pen) -> Json:
    item = {
        "product_retailer_id": pen.chance.choice(_ITEMS),
        "quantity": pen.chance.randint(1, 9),
        "item_price": 8.5,
        "currency": "USD",
    }
    return {"order": {"catalog_id": "20055501", "text": "By Friday?", "product_items": [item]}}


def _reaction(pen: Pen) -> Json:
    return {"reaction": {"message_id": pen.former, "emoji": pen.chance.choice(_EMOJI)}}


def _system(pen: Pen) -> Json:
    new = "12025550177"
    body = f"{pen.number} changed to {new}"
    if pen.is_cloud:
        return {"system": {"body": body, "wa_id": new, "type": "user_changed_number"}}
    if pen.chance.random() < 0.5:
        changed = {"acknowledged": False, "created_timestamp": pen.at * 1000, "hash": "fictional"}
        return {
            "system": {"body": "The identity changed", "type": "user_identity_changed"},
            "identity": changed,
        }
    return {"system": {"body": body, "new_wa_id": new, "type": "user_changed_number"}}


def _revoke(pen: Pen) -> Json:
    return {"revoke": {"original_message_id": pen.former}}


def _edit(pen: Pen) -> Json:
    message = {"type": "text", "text": {"body": pen.chance.choice(_TEXTS)}}
    return {"edit": {"original_message_id": pen.former, "message": message}}


def _unreadable(pen: Pen) -> Json:
    """A message that WhatsApp itself cannot pass on: it comes with an error inside."""
    if pen.is_cloud:
        error: Json = {
            "code": 131051,
            "title": "Message type unknown",
            "message": "Message type unknown",
            "error_data": {"details": "Message type is currently not supported."},
        }
        return {"errors": [error], "unsupported": {"type": "poll"}}
    details = "Message type is not currently supported"
    return {"errors": [{"code": 501, "title": "Unknown message type", "details": details}]}


_BOTH: Mapping[str, tuple[int, Content]] = {
    "text": (60, _text),
    "image": (10, _media("image", "image/jpeg", caption="This one?")),
    "video": (2, _media("video", "video/mp4")),
    "document": (3, _media("document", "application/pdf", filename="invoice.pdf")),
    "sticker": (3, _sticker),
    "location": (3, _location),
    "contacts": (2, _contacts),
    "button": (3, _button),
    "interactive": (5, _interactive),
    "order": (3, _order),
    "reaction": (4, _reaction),
    "system": (1, _system),
    "revoke": (1, _revoke),
    "edit": (1, _edit),
}
_CLOUD: Mapping[str, tuple[int, Content]] = {
    "audio": (4, _media("audio", "audio/ogg; codecs=opus", voice=True)),
    "unsupported": (1, _unreadable),
}
_ONPREM: Mapping[str, tuple[int, Content]] = {
    "audio": (1, _media("audio", "audio/mpeg")),
    "voice": (3, _media("voice", "audio/ogg; codecs=opus")),
    "unknown": (1, _unreadable),
    "ephemeral": (1, _unreadable),
}


class Contents:
    """The types of messages of a shape, as often as customers send them.

    Args:
        shape: Cloud or On-Premises.
    """

    def __init__(self, shape: Shape) -> None:
        known = {**_BOTH, **(_CLOUD if shape == "cloud" else _ONPREM)}
        self._writers = {kind: write for kind, (_, write) in known.items()}
        # A flat list is drawn from several times as fast as weights are.
        self._lots = [kind for kind, (weight, _) in known.items() for _ in range(weight)]

    @property
    def kinds(self) -> frozenset[str]:
        """All types."""
        return frozenset(self._writers)

    def write(self, pen: Pen) -> Json:
        """Return ``type``, and what belongs to it, of a message of any type."""
        return self.write_as(pen.chance.choice(self._lots), pen)

    def write_as(self, kind: str, pen: Pen) -> Json:
        """Return ``type``, and what belongs to it, of a message of one of the `kinds`.

        Raises:
            KeyError: The shape has no such type.
        """
        return {"type": kind, **self._writers[kind](pen)}
