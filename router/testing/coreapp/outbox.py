"""The notifications that a Coreapp keeps on disk until they are acknowledged."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from router.testing.shop.facts import Expected, Posting

_TABLE = """CREATE TABLE IF NOT EXISTS pending (
    number INTEGER PRIMARY KEY, body BLOB NOT NULL, expected BLOB NOT NULL, copy_of INTEGER,
    failures INTEGER NOT NULL)"""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[Expected, ...]).decode


class Kept(msgspec.Struct, frozen=True):
    """A notification as the disk holds it.

    Attributes:
        posting: The notification.
        failures: Attempts so far.
    """

    posting: Posting
    failures: int


class Outbox:
    """A file of what is not acknowledged.

    It is written on the event loop, since a write waits for no disk: it must outlive the
    process, not the machine.

    Args:
        file: An SQLite database; made if need be.
    """

    def __init__(self, file: Path) -> None:
        self._connection = sqlite3.connect(file, isolation_level=None)
        self._connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF;")
        self._connection.execute(_TABLE)

    def put(self, posting: Posting) -> None:
        """Keep a notification."""
        row = (posting.number, posting.body, _encode(posting.expected), posting.copy_of)
        self._connection.execute("INSERT OR REPLACE INTO pending VALUES (?, ?, ?, ?, 0)", row)

    def note(self, number: int, *, failures: int) -> None:
        """Keep how often it has failed."""
        self._connection.execute(
            "UPDATE pending SET failures = ? WHERE number = ?", (failures, number)
        )

    def drop(self, number: int) -> None:
        """Keep it no longer."""
        self._connection.execute("DELETE FROM pending WHERE number = ?", (number,))

    def load(self) -> Iterator[Kept]:
        """Yield all that is kept, in order."""
        rows = self._connection.execute("SELECT * FROM pending ORDER BY number").fetchall()
        for number, body, expected, copy_of, failures in rows:
            yield Kept(Posting(number, body, _decode(expected), copy_of), failures)

    def find_last(self) -> int:
        """Return the highest number that is kept; -1 where nothing is."""
        (number,) = self._connection.execute("SELECT max(number) FROM pending").fetchone()
        return -1 if number is None else int(number)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
