"""Shows the shop's staff what customers write."""

import json
from pathlib import Path

from router import Event, hookimpl

NOTES = Path(__file__).parents[1] / "notes" / "crm.jsonl"


@hookimpl
def on_message(event: Event) -> None:
    """Note who wrote what, where a real plugin would fill in a customer's card."""
    did = f"{read_name(event)} {read_message(event)}"
    with NOTES.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"position": event.position, "did": did}) + "\n")


def read_name(event: Event) -> str:
    """Return the name that came beside the message, else the number."""
    match event.parent, event.payload:
        case {"contacts": [{"profile": {"name": str(name)}}]}, _:
            return name
        case _, {"from": str(number)}:
            return number
    return "somebody"


def read_message(event: Event) -> str:
    """Return what the message says, in a few words."""
    match event.payload:
        case {"text": {"body": str(text)}}:
            return f'writes "{text}"'
        case {"order": {"product_items": list(items)}}:
            return f"orders {len(items)} products"
    return f"sends: {event.subtype}"
