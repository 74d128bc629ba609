"""Whoever appends at the same time: the log is one, and readers see it grow at its end alone."""

import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from hypothesis import given, settings
from hypothesis import strategies as st

from router.errors import StoreError, Unavailable
from router.events import Entry
from router.log import EventLog
from router.rows import Appended
from router.store import Store
from tests.properties.drafts import Key, bad_drafts, drafts, entries_of, key_of
from tests.properties.driver import Driver, End
from tests.properties.grounds import Ground, hurry
from tests.properties.wires import drive

TRIES = 50  # more than any entry needs

entries = entries_of(drafts, least=1) | entries_of(bad_drafts, least=1)
batches = st.lists(st.lists(entries, min_size=1, max_size=3), min_size=1, max_size=4)
ends = st.builds(End, st.integers(1, 30), st.sampled_from(["fail before", "fail after"]))


class Appender:
    """A process that appends, and appends again what it has not been told of.

    Args:
        url: Of the log.
        batches: What it appends.
        end: What goes wrong meanwhile.

    Attributes:
        told: Of what it has been told that it is stored: each entry, and what became of it.
        log: As it sees it.
    """

    def __init__(self, url: str, batches: Sequence[Sequence[Entry]], end: End | None) -> None:
        self.told: list[tuple[Entry, Appended]] = []
        store = Store(url)
        hurry(store)
        self._driver = Driver(end)
        drive(store.engine, self._driver)
        self.log = EventLog(store)
        self._batches = batches

    def run(self, start: threading.Barrier) -> None:
        """Append all, one batch after the other; of what is bad nothing is stored."""
        start.wait()
        for batch in self._batches:
            for _ in range(TRIES):
                try:
                    self.told += zip(batch, self.log.append(batch), strict=True)
                except Unavailable:
                    continue
                except StoreError:
                    pass
                break

    @property
    def has_lost_an_answer(self) -> bool:
        """Whether it may have stored something without being told."""
        return self._driver.has_failed


class Watcher:
    """Looks at the log while it grows.

    Attributes:
        seen: The ids of all events, in the order of their positions.
    """

    def __init__(self, url: str) -> None:
        self.log = EventLog(Store(url))
        self.seen: list[str] = []

    def run(self, start: threading.Barrier, is_over: threading.Event) -> None:
        """Look again and again."""
        start.wait()
        while not is_over.is_set():
            self.look()

    def look(self) -> None:
        """Hold what is there against what was: nothing is in between, gone or another one."""
        least = self.log.head()
        found = list(self.log.read(page=2))
        assert [event.position for event in found] == list(range(1, len(found) + 1))
        assert len(found) >= max(least, len(self.seen))
        ids = [event.id for event in found]
        assert ids[: len(self.seen)] == self.seen
        self.seen = ids


def append_all(url: str, appenders: Sequence[Appender]) -> list[str]:
    """Let all append at once while somebody looks on; the ids that are there in the end."""
    watcher, is_over = Watcher(url), threading.Event()
    start = threading.Barrier(len(appenders) + 1)
    with closing(watcher.log.store), ThreadPoolExecutor(len(appenders) + 1) as threads:
        looking = threads.submit(watcher.run, start, is_over)
        try:
            for done in [threads.submit(one.run, start) for one in appenders]:
                done.result()
        finally:
            is_over.set()
        looking.result()
        watcher.look()
        assert watcher.log.head() == len(watcher.seen)
    return watcher.seen


def keys_of(batches: Sequence[Sequence[Entry]]) -> set[Key]:
    """Return the keys of what can be stored."""
    good = [batch for batch in batches if not any(is_bad(entry) for entry in batch)]
    return {key_of(one, draft) for batch in good for one in batch for draft in one.drafts}


def is_bad(entry: Entry) -> bool:
    """Whether it can never be stored."""
    return any(draft.occurred_at is not None for draft in entry.drafts)


@settings(max_examples=settings().max_examples // 4)
@given(plans=st.lists(st.tuples(batches, ends | st.none()), min_size=2, max_size=3))
def test_who_appends_at_once_appends_to_one_log(
    ground: Ground, plans: list[tuple[list[list[Entry]], End | None]]
) -> None:
    """Invariants 1 to 3 hold: each event is there once, whoever else appended it too."""
    with ground.laid() as url, ExitStack() as stack:
        appenders = [Appender(url, batches, end) for batches, end in plans]
        for one in appenders:
            stack.enter_context(closing(one.log.store))
        ids = append_all(url, appenders)
        expected = set[Key]().union(*(keys_of(batches) for batches, _ in plans))
        assert len(ids) == len(set(ids)) == len(expected)
        told = [event.id for one in appenders for _, done in one.told for event in done.events]
        assert set(Counter(told).values()) <= {1}, "two were told that an event is theirs"
        if not any(one.has_lost_an_answer for one in appenders):
            assert set(told) == set(ids)
