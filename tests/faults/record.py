"""What a PostgreSQL log has on record, looked at from outside, and whether it keeps its word."""

import threading
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager

import psycopg

from tests.faults.beside import beside
from tests.faults.traffic import read_number

PAUSE = 0.05  # seconds between two looks at a log that grows


class Record:
    """A log, by SQL alone.

    Args:
        url: The database's URL; of several hosts it is the one that takes writes.
    """

    def __init__(self, url: str) -> None:
        self._dsn = url.replace("postgresql+psycopg://", "postgresql://")

    def ask(self, query: str) -> list[tuple[int, ...]]:
        """Return the rows that a query gives."""
        with psycopg.connect(self._dsn, autocommit=True, connect_timeout=5) as connection:
            return connection.execute(query.encode()).fetchall()

    def count(self, table: str) -> int:
        """Return how many rows a table has."""
        return self.ask(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608  # names of our own

    def head(self) -> int:
        """Return the position of the newest event."""
        return self.ask("SELECT position FROM head")[0][0]

    def owners(self) -> Counter[str]:
        """Return how many lanes each process owns by a lease that holds, by its pid."""
        now = "extract(epoch FROM clock_timestamp()) * 1000000"
        query = (
            "SELECT worker.pid FROM lane JOIN worker ON worker.id = lane.owner"  # noqa: S608
            f" WHERE lane.expires_at >= {now}"
        )
        return Counter(str(pid) for (pid,) in self.ask(query))

    def progress(self) -> int:
        """Return a number that grows with each event that is settled for a subscription."""
        return int(self.ask("SELECT sum(checkpoint) FROM lane")[0][0])

    def is_delivered(self) -> bool:
        """Whether all lanes have come to the end of the log, and nothing is left over."""
        query = (
            "SELECT (SELECT min(checkpoint) FROM lane) - (SELECT position FROM head),"
            " (SELECT count(*) FROM parked) + (SELECT count(*) FROM blocked)"
        )
        return self.ask(query)[0] == (0, 0)

    def numbers(self) -> Counter[int]:
        """Return how often each notification is there, by the number in it."""
        with psycopg.connect(self._dsn) as connection, connection.cursor("bodies") as cursor:
            cursor.itersize = 5_000
            cursor.execute("SELECT body FROM notification")
            return Counter(read_number(body) for (body,) in cursor)

    def check_log(self, *, must: set[int], may: set[int]) -> None:
        """Check that what was answered is there, once, and each event has its place.

        Args:
            must: The numbers that were answered 200; each notification has one event.
            may: Others that were sent.
        """
        found = self.numbers()
        assert sorted(must - found.keys())[:5] == [], "answered 200, and lost"
        assert [number for number, count in found.items() if count > 1][:5] == [], "doubled"
        assert found.keys() <= must | may
        first, last, events, notifications = self.ask(
            "SELECT min(position), max(position), count(*), count(DISTINCT notification_id)"
            " FROM event"
        )[0]
        assert (first, last, events, notifications) == (1, len(found), len(found), len(found))
        assert self.head() == len(found)

    def check_effects(self) -> None:
        """Check that each event has had its effect once, and those of a subject in order."""
        rows: Sequence[tuple[int, str]] = self.ask(  # type: ignore[assignment]
            "SELECT position, subject FROM effect ORDER BY id"
        )
        counted = Counter(position for position, _ in rows)
        assert counted == Counter(range(1, self.head() + 1)), _describe(counted, self.head())
        latest: dict[str, int] = {}
        for position, subject in rows:
            assert position > latest.get(subject, 0), f"{position} after {latest[subject]}"
            latest[subject] = position


class Watcher:
    """Reads a log while it grows: whoever sees a position sees all before it.

    Attributes:
        looks: How often it has looked.
        breaches: What it saw that may not be.
    """

    def __init__(self, record: Record) -> None:
        self.looks = 0
        self.breaches: list[str] = []
        self._record = record
        self._reached = 0
        self._stopped = threading.Event()

    def watching(self) -> AbstractContextManager[None]:
        """Look while the block lasts."""
        return beside(self._run, self._stopped)

    def look(self) -> None:
        """Read what is new."""
        rows = self._record.ask(
            "SELECT event.position, head.position FROM head LEFT JOIN event"  # noqa: S608
            f" ON event.position > {self._reached} ORDER BY event.position"
        )
        found = [position for position, _ in rows if position is not None]
        end = rows[0][1]
        if found != list(range(self._reached + 1, end + 1)):
            self.breaches.append(f"behind {self._reached}, with head at {end}: {found[:20]}")
        self._reached = max(self._reached, end)
        self.looks += 1

    def _run(self) -> None:
        while not self._stopped.wait(PAUSE):
            self.look()


def _describe(counted: Counter[int], head: int) -> str:
    missing = [position for position in range(1, head + 1) if position not in counted]
    doubled = [position for position, count in counted.items() if count > 1]
    return f"{len(missing)} effects are missing, {missing[:5]}, and {len(doubled)} came twice"
