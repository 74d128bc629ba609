"""The dedupe memory: which events are in the log already, remembered for a time in two generations.

New keys go into one table; the other holds those of the time before. When the first is old enough,
the other is emptied in small steps and the two change places. So forgetting never holds up an
append, and no key is forgotten before its time. A row costs about 30 bytes on SQLite.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Table, delete, select, update

from router.bulk import find_keys
from router.store import Store

STEP = 5_000  # keys forgotten in one transaction: a few milliseconds


class Dedupe:
    """Recognises events that come again.

    Args:
        store: The database.
        seconds: How long a key is remembered, at least; None is for ever. Meta redelivers for up to
            seven days.
    """

    def __init__(self, store: Store, *, seconds: float | None) -> None:
        self._store = store
        self._micros = None if seconds is None else int(seconds * 1_000_000)
        self._forgotten = b""  # below this key nothing is left to be forgotten

    def find_known(self, connection: Connection, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of ``keys`` that are remembered. The head must be locked before."""
        return find_keys(connection, self._store.tables.dedupe, keys)

    def rotate(self) -> bool:
        """Forget one step of what is old enough; whether there may be more to do.

        Both the clock and the time of the last append must have moved on: while nothing is
        appended, a clock that was set forward by mistake costs nothing.
        """
        if self._micros is None:
            return False
        head = self._store.tables.head
        with self._store.writing() as connection:
            row = connection.execute(select(head)).one()
            if min(self._store.now(), row.appended_at) - row.rotated_at < self._micros:
                return False
            old = self._store.tables.dedupe[1 - row.generation]
            if self._forget_some(connection, old):
                return True
            swap = update(head).where(head.c.generation == row.generation)
            connection.execute(
                swap.values(generation=1 - row.generation, rotated_at=self._store.now())
            )
        return False

    def _forget_some(self, connection: Connection, old: Table) -> bool:
        """Delete the lowest keys of a generation; whether there may be any left.

        By a range of keys, along their index: a list of them would be looked for in all of it.
        """
        key, begin = old.c.key, self._forgotten
        some = delete(old).where(key >= begin)
        rest = select(key).where(key >= begin).order_by(key).offset(STEP).limit(1)
        end = connection.scalars(rest).first()
        if end is not None:
            some = some.where(key < end)
        # What was deleted stays in the index for a while, and is passed over only this once.
        self._forgotten = end or b""
        return connection.execute(some).rowcount > 0 or begin > b""
