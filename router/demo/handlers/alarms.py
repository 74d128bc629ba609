"""Tells the person on duty what goes wrong, and keeps the rest for the morning."""

import json
from pathlib import Path

from router import Event, hookimpl

NOTES = Path(__file__).parents[1] / "notes" / "alarms.jsonl"


@hookimpl
def on_error(event: Event) -> None:
    """Sound the alarm, for a message that failed and for an error that stands by itself."""
    match event.payload:
        case {"errors": [{"title": str(title)}, *_]} | {"title": str(title)}:
            note(event, f"calls the person on duty: {title}")
        case _:
            note(event, "calls the person on duty")


@hookimpl
def on_other(event: Event) -> None:
    """Keep what is none of the five types; nothing that a provider sends gets lost."""
    note(event, f"keeps it for the morning: {event.subtype}")


def note(event: Event, did: str) -> None:
    """Write it down."""
    with NOTES.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"position": event.position, "did": did}) + "\n")
