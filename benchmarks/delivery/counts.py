"""The statements that reach SQLite, and what each is about, as the driver reports them."""

import re
import sqlite3
from collections import Counter
from functools import partial

from sqlalchemy import Engine, event

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+\"?([a-z_]+)")
ENDS = ("COMMIT", "ROLLBACK")
_END = re.compile(r"(?:COMMIT|ROLLBACK)\b(?!\s+TO\b)", re.IGNORECASE)
_RANGE = re.compile(r"position > ([0-9]+) AND event\.position <= ([0-9]+) ")
ONE_EVENT = "SELECT event by position"  # what a retry reads
FRAME = {"PRAGMA", "BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK", "UPDATE lane"}
OF_FAILURES = {"parked", "blocked", "attempt"}


class Statements:
    """Counts every statement of an engine, also those of transactions and savepoints.

    Attributes:
        counts: By what they do, such as ``UPDATE lane``; a COMMIT by what its transaction wrote.
        own: How many of them are those of failing deliveries: they read the one event that is
            tried again, are about what is parked, blocked or attempted, or begin and end
            transactions with nothing else in them.
    """

    def __init__(self, engine: Engine) -> None:
        self.counts: Counter[str] = Counter()
        self.own = 0
        self._open: dict[int, list[str]] = {}
        event.listen(engine, "checkout", self._watch)
        event.listen(engine, "checkin", self._end)

    @property
    def total(self) -> int:
        """How many there were, up to the end of the last transaction."""
        return self.counts.total()

    def _watch(self, connection: sqlite3.Connection, _entry: object, _proxy: object) -> None:
        statements = self._open[id(connection)] = []
        connection.set_trace_callback(partial(self._note, statements))

    def _note(self, statements: list[str], statement: str) -> None:
        if statement.startswith("--"):  # what a trigger does
            return
        statements.append(describe(statement))
        if _END.match(statement):  # not when it is given back: those for writing never are
            self._close(statements)
            statements.clear()

    def _end(self, connection: sqlite3.Connection, _entry: object) -> None:
        if statements := self._open.pop(id(connection), None):
            self._close(statements)

    def _close(self, statements: list[str]) -> None:
        self.own += _count_own(statements)
        written = sorted({one for one in statements if one.split()[0] not in ("SELECT", "BEGIN")})
        for one in statements:
            self.counts[one if one not in ENDS else f"{one} of {', '.join(written[:3])}"] += 1


def _count_own(statements: list[str]) -> int:
    """Return how many statements of a transaction are those of failing deliveries."""
    if ONE_EVENT in statements:
        return len(statements)
    own = [one for one in statements if set(one.split()) & OF_FAILURES]
    if all(one.startswith("SELECT") for one in own):
        return 0  # a look for what waits, which is made in any case
    return len(statements) if set(statements) - set(own) <= FRAME else len(own)


def describe(statement: str) -> str:
    """Return what a statement does, and to which tables."""
    words = statement.split(None, 2)
    verb = words[0].upper()
    if verb == "BEGIN":
        return " ".join(word.upper() for word in words[:2])
    if (range_ := _RANGE.search(statement)) and int(range_[2]) - int(range_[1]) == 1:
        return ONE_EVENT
    if verb in ("SELECT", "INSERT", "UPDATE", "DELETE", "WITH"):
        return " ".join([verb, *dict.fromkeys(_TABLE.findall(statement))])
    return verb
