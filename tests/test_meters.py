"""Tests of `router.meters`: what is done is counted, by whoever does it."""

import threading

import pytest

from router.log import EventLog
from router.meters import Meters, Spread
from router.writer import Writer
from tests.entries import make_entry
from tests.loops import in_loop
from tests.submitting import bad_entry, held, settle, submit, writing
from tests.waiting import until

# One engine is enough: what is counted is the same on each.
pytestmark = pytest.mark.engines("sqlite")


def test_a_value_lies_at_or_below_its_bound() -> None:
    """A bound belongs to the range that it ends; beyond the last there is one more."""
    spread = Spread((1.0, 2.0))

    spread.add(0.5, 1.0, 1.5)
    spread.add(2.0, 3.0)

    assert (spread.counts, spread.total) == ([2, 2, 1], 8.0)


def test_what_was_read_does_not_change() -> None:
    """What is counted after a reading is in the next one."""
    meters = Meters()
    meters.call("crm", "done", 0.1)
    before = meters.read()

    meters.receive("wa")
    meters.call("crm", "done", 0.1)

    assert before.received == {}
    assert sum(before.call_seconds["crm", "done"].counts) == 1
    assert sum(meters.read().call_seconds["crm", "done"].counts) == 2


def test_nothing_is_lost_between_threads() -> None:
    """Threads that count at once are all counted."""
    meters = Meters()

    def work() -> None:
        for _ in range(2_000):
            meters.receive("wa")
            meters.call("crm", "done", 1.0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    now = meters.read()
    assert now.received["wa"] == 8_000
    assert now.call_seconds["crm", "done"].total == 8_000


@in_loop
async def test_a_writer_counts_its_batches(log: EventLog) -> None:
    """Each batch is counted with its size and time, and what was stored of it, before the answer.

    What waits is counted while it waits; what can never be stored belongs to no batch.
    """
    async with writing(Writer(log)) as writer:
        twice = make_entry()
        with held(log):
            first = await submit(writer, twice)
            await until(lambda: log.store.gate.is_append_waiting)
            others = await submit(writer, twice, make_entry(), bad_entry())
            waiting = log.meters.read().waiting
        await settle(first + others)
    now = log.meters.read()
    assert (waiting, now.waiting) == (3, 0)
    assert now.notifications == {"wa": 2}
    assert now.events == {("wa", "message"): 2}
    assert now.known == {"wa": 1}
    assert (sum(now.batch_size.counts), now.batch_size.total) == (2, 3)
    assert sum(now.append_seconds.counts) == 2
