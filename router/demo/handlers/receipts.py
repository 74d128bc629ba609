"""Follows the shop's own messages: sent, delivered, read, and what they cost."""

import asyncio
import json
from pathlib import Path

from router import Event, hookimpl

NOTES = Path(__file__).parents[1] / "notes" / "receipts.jsonl"


@hookimpl
async def on_sent(event: Event) -> None:
    """Show one tick."""
    await note(event, "one tick")


@hookimpl
async def on_delivered(event: Event) -> None:
    """Show two ticks."""
    await note(event, "two ticks")


@hookimpl
async def on_read(event: Event) -> None:
    """Show two blue ticks."""
    await note(event, "two blue ticks")


async def note(event: Event, did: str) -> None:
    """Write it down, with the price where one is named."""
    match event.payload:
        case {"pricing": {"billable": bool(is_billed), "category": str(category)}}:
            did += f", {'billed' if is_billed else 'free'} as {category}"
    line = json.dumps({"position": event.position, "did": did}) + "\n"
    await asyncio.to_thread(append, line)


def append(line: str) -> None:
    """Add a line to the notes."""
    with NOTES.open("a", encoding="utf-8") as file:
        file.write(line)
