"""Writers that are held up while entries are submitted, and watched at what they send."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from sqlalchemy import Connection, event, func, select

from router.events import Draft, Entry, Notification
from router.log import EventLog
from router.rows import Appended
from router.writer import Writer
from tests.entries import NOON


class Statements:
    """Writes down what is sent to the database of ``log``."""

    def __init__(self, log: EventLog) -> None:
        self.texts: list[str] = []
        event.listen(log.store.engine, "before_cursor_execute", self._note)

    def _note(self, _connection: Connection, _cursor: object, text: str, *_others: object) -> None:
        self.texts.append(text)

    @property
    def transactions(self) -> int:
        """How many writing transactions there have been."""
        return self.texts.count("BEGIN IMMEDIATE")


@contextmanager
def held(log: EventLog) -> Iterator[None]:
    """Hold the gate, so that whatever is submitted waits."""
    with log.store.gate.turn():
        yield


@asynccontextmanager
async def writing(writer: Writer) -> AsyncIterator[Writer]:
    """Run a writer."""
    writer.start()
    try:
        yield writer
    finally:
        await asyncio.to_thread(writer.stop)


async def submit(writer: Writer, *entries: Entry) -> list[asyncio.Task[Appended]]:
    """Submit entries and return once they all wait."""
    tasks = [asyncio.ensure_future(writer.append(entry)) for entry in entries]
    await asyncio.sleep(0)
    return tasks


async def settle(tasks: list[asyncio.Task[Appended]]) -> list[Appended | BaseException]:
    """Return what became of each."""
    return await asyncio.gather(*tasks, return_exceptions=True)


def bad_entry() -> Entry:
    """Return an entry that cannot be stored."""
    draft = Draft(path="$", type="message", subtype="text", conversation="\ud800")
    return Entry(Notification("wa", NOON, {}, b"{}"), [draft])


def large_entry(events: int, *, size: int = 2) -> Entry:
    """Return an entry of so many events in so many bytes."""
    drafts = [Draft(path=f"$[{at}]", type="message", subtype="text") for at in range(events)]
    return Entry(Notification("wa", NOON, {}, b"[]".ljust(size)), drafts)


def count(log: EventLog) -> int:
    """How many notifications are stored."""
    table = log.store.tables.notification
    with log.store.reading() as connection:
        return connection.scalars(select(func.count()).select_from(table)).one()
