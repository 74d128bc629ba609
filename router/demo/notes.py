"""What the demo's plugins wrote down when they were called: the proof of who handled what."""

import json
from pathlib import Path

import msgspec


class Note(msgspec.Struct, frozen=True):
    """One call of a handler.

    Attributes:
        plugin: Whose handler.
        position: The event's.
        did: What came of it, in the handler's own words.
    """

    plugin: str
    position: int
    did: str


def read_notes(folder: Path) -> list[Note]:
    """Return all notes of all plugins of the project in ``folder``."""
    return [
        Note(plugin=file.stem, **json.loads(line))
        for file in sorted((folder / "notes").glob("*.jsonl"))
        for line in file.read_text("utf-8").splitlines(keepends=True)
        if line.endswith("\n")  # else it is being written just now
    ]


def read_counts(folder: Path) -> dict[str, int]:
    """Return what the plugin `history` counted, by subject."""
    counts: dict[str, int] = json.loads((folder / "handlers" / "history.json").read_text("utf-8"))
    return counts
