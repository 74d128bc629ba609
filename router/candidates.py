"""Candidates: events that may be missing from the log, by their keys, until that is known."""

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from router.bulk import Values

FEW = 100_000  # whose keys are held in memory, too: what is no candidate is then told at once

_TABLE = """
PRAGMA journal_mode = OFF;
CREATE TABLE candidate (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, notification_id INTEGER NOT NULL,
    type TEXT NOT NULL, content BLOB NOT NULL
);
"""


class Candidate(NamedTuple):
    """An event that may be missing.

    Attributes:
        key: By which it is known again.
        notification_id: Of the stored notification that holds it.
        type: One of `EVENT_TYPES`.
        content: Its row of the table ``event``, from the path to the time at which it occurred.
    """

    key: bytes
    notification_id: int
    type: str
    content: Values


class Candidates:
    """Any number of candidates, in the order in which they came; of one key only the first stays.

    They are kept in a file without a name that ends with `close`, so that however many there are,
    memory is not; a few never reach the disk.
    """

    def __init__(self) -> None:
        # Whoever plans on one thread may append on another; never both at once.
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLE)
        self._keys: set[bytes] | None = set()
        self._count = 0

    def __len__(self) -> int:
        """How many there are."""
        return self._count

    def add(self, found: Sequence[Candidate]) -> None:
        """Add those whose keys are not there yet."""
        self._count += self._change(
            "INSERT OR IGNORE INTO candidate (key, notification_id, type, content) "
            "VALUES (?, ?, ?, ?)",
            [(*one[:3], msgspec.msgpack.encode(one.content)) for one in found],
        )
        if self._keys is not None:
            self._keys.update(one.key for one in found)
            if len(self._keys) > FEW:
                self._keys = None

    def drop(self, keys: Iterable[bytes]) -> None:
        """Take away those with these keys: they are missing no more."""
        if self._keys is not None:
            keys = self._keys.intersection(keys)
            self._keys -= keys
        delete = "DELETE FROM candidate WHERE key = ?"
        self._count -= self._change(delete, [(key,) for key in keys])

    def count_by_type(self) -> Mapping[str, int]:
        """Count them by type."""
        query = "SELECT type, count(*) FROM candidate GROUP BY type ORDER BY type"
        return dict(self._database.execute(query).fetchall())

    def read(self, size: int) -> Iterator[list[Candidate]]:
        """Yield them in batches of that size; those already yielded may be dropped meanwhile."""
        last = 0
        query = (
            "SELECT number, key, notification_id, type, content FROM candidate "
            "WHERE number > ? ORDER BY number LIMIT ?"
        )
        while rows := self._database.execute(query, (last, size)).fetchall():
            last = rows[-1][0]
            yield [
                Candidate(key, notification_id, type_, tuple(msgspec.msgpack.decode(content)))
                for _, key, notification_id, type_, content in rows
            ]

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def _change(self, statement: str, rows: Sequence[Values]) -> int:
        """Execute ``statement`` for each of ``rows``; return how many candidates it touched."""
        if not rows:
            return 0
        self._database.execute("BEGIN")
        count = self._database.executemany(statement, rows).rowcount
        self._database.execute("COMMIT")
        return count
