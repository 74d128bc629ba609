"""Counts the events of each conversation."""

import json
from pathlib import Path

from router import Event, hookimpl

COUNTS = Path(__file__).with_suffix(".json")
events: dict[str, set[str]] = {}


@hookimpl(replay="allow")
async def on_event(event: Event) -> None:
    """Count ids, so that an event that comes twice counts once."""
    events.setdefault(event.subject, set()).add(event.id)
    counts = {subject: len(ids) for subject, ids in events.items()}
    COUNTS.write_text(json.dumps(counts, indent=2))
