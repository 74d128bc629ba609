"""The samples of WhatsApp notifications that others wrote, where they lie beside the repository."""

import csv
from pathlib import Path

import msgspec

from router import bodies
from router.errors import Unreadable

FOLDER = Path(__file__).parents[3] / "shared" / "corpus"


class Row(msgspec.Struct, frozen=True):
    """A line of the index.

    Attributes:
        file: Below `FOLDER`.
        kind: ``edge`` where the expectation is a matter of policy.
        tokens: One for each expected event.
    """

    file: str
    kind: str
    tokens: tuple[str, ...]

    @property
    def body(self) -> bytes:
        """The sample itself."""
        return (FOLDER / self.file).read_bytes()


def read_rows() -> list[Row]:
    """Return the lines about WhatsApp; none where the samples are not there."""
    if not FOLDER.is_dir():
        return []
    with (FOLDER / "INDEX.tsv").open(encoding="utf-8", newline="") as index:
        lines = list(csv.DictReader(index, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [
        Row(line["file"], line["kind"], tuple(line["expected_events"].split(";")))
        for line in lines
        if line["file"].startswith(("cloud/", "onprem/"))
    ]


def corpus_values() -> list[object]:
    """Return those samples that are JSON, decoded."""
    values = []
    for row in read_rows():
        try:
            values.append(bodies.decode(row.body))
        except Unreadable:
            continue
    return values
