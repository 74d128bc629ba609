"""The look-up that an append begins with: where the log ends, and what of the rest it knows."""

from collections.abc import Sequence

from sqlalchemy import Connection, CursorResult, Dialect
from sqlalchemy.exc import NoResultFound

from router.bulk import find_keys, write_find
from router.head import LOG, select_head
from router.schema import Tables


class Lookup:
    """Asks the database what an append goes by, once it has begun.

    Args:
        tables: Of the log.
        keys: Of the events that are to be appended.

    Attributes:
        position: Of the newest event; nobody else adds any until the transaction ends.
        generation: Which of the dedupe tables new keys go into.
        known: Those of the keys that are remembered.
    """

    position: int
    generation: int
    known: set[bytes]

    def __init__(self, tables: Tables, keys: Sequence[bytes]) -> None:
        self._tables = tables
        self._keys = keys

    def ask(self, connection: Connection) -> None:
        """Lock the head, and then look for the keys."""
        self.position, self.generation = connection.execute(select_head(self._tables)).one()
        self.known = find_keys(connection, self._tables.dedupe, self._keys)

    def write(self, dialect: Dialect) -> str:
        """Return what `ask` executes as one text for PostgreSQL, without marks.

        The second statement sees what was committed before the first had its lock. The text is a
        single message: a process that stands still when it has sent a part of it has locked
        nothing.
        """
        head = dialect.identifier_preparer.format_table(self._tables.head)
        where = f"WHERE log = '{LOG}'"
        known = write_find(self._tables.dedupe, self._keys, dialect)
        text = (
            f"SELECT FROM {head} {where} FOR UPDATE;"  # noqa: S608
            f" SELECT position, generation, key FROM {head} LEFT JOIN ({known}) AS known ON true"
            f" {where}"
        )
        return text.replace("%%", "%")  # as the driver does where it has marks to fill in

    def read(self, result: CursorResult[int, int, bytes | None]) -> None:
        """Take the answer to what `write` has written."""
        rows = result.all()
        if not rows:  # as `ask` says it, of a log that is only half there
            raise NoResultFound("the log has no head")
        self.position, self.generation, _ = rows[0]
        self.known = {key for _, _, key in rows if key is not None}
