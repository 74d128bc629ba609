"""Tests of `router.appending`: the threads beside a receiver, and what they are told."""

import threading
from collections.abc import Sequence

from router.appending import Appending
from router.events import Event
from router.log import EventLog
from router.store import Store
from tests.ears import listening
from tests.entries import make_entry
from tests.loops import in_loop


@in_loop
async def test_what_is_appended_is_told_here_and_elsewhere(postgres_store: Store) -> None:
    """The process gets the events themselves, others hear that there are some."""
    told: list[Sequence[Event]] = []
    with listening(postgres_store) as ear:
        appending = Appending(EventLog(postgres_store), on_append=told.append)
        appending.start()
        try:
            appended = await appending.writer.append(make_entry())
        finally:
            appending.stop()
        assert [list(events) for events in told] == [list(appended.events)]
        assert ear.wait_for(2)


def test_all_threads_end(log: EventLog) -> None:
    """A process that has stopped to receive keeps none of them."""
    before = set(threading.enumerate())
    appending = Appending(log, on_append=lambda _: None)
    appending.start()
    assert {one.name for one in set(threading.enumerate()) - before} >= {"router-writer"}
    appending.stop()
    assert {one.name for one in set(threading.enumerate()) - before} <= {"router-checkpoints"}
