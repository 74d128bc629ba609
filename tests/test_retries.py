"""Tests of `router.retries`: failed deliveries are tried again, and what waits follows in order."""

import pytest

from router.options import Options, RetryOptions
from router.retries import PAGE
from router.retry import Reject, Retry
from tests.bench import Bench, MakeBench
from tests.entries import append_messages
from tests.loops import in_loop
from tests.records import ParkedRow
from tests.waiting import until

# After 10 s, 20 s, 40 s …
STEADY = Options(
    start="beginning", retry=RetryOptions(first=10, factor=2, cap=3600, attempts=4, jitter=False)
)
HOLDING = Options(start="beginning", retry=STEADY.retry, on_dead="hold")
UNORDERED = Options(start="beginning", retry=STEADY.retry, order="none")


def errors(count: int) -> list[ValueError]:
    """Return so many errors."""
    return [ValueError("busy") for _ in range(count)]


def is_waiting(bench: Bench, row: ParkedRow | None, *, attempts: int) -> bool:
    """Whether a delivery failed so many times, the last failure included, and waits."""
    is_due_later = row is not None and (row.next_at or 0) > bench.clock.micros
    return is_due_later and row is not None and row.attempts == attempts


async def until_parked(bench: Bench, position: int, *, attempts: int) -> None:
    """Wait until a delivery failed so many times and waits for the next attempt."""
    await until(lambda: is_waiting(bench, bench.parked().get(position), attempts=attempts))


async def until_dead(bench: Bench, position: int, *, attempts: int) -> None:
    """Wait until a delivery was given up after so many attempts."""
    await until(lambda: bench.parked().get(position) == ParkedRow("dead", attempts, None))


@in_loop
async def test_the_next_attempt_is_made_when_it_is_due(make_bench: MakeBench) -> None:
    """A failed delivery waits for its delay, not a microsecond less, and is then tried again."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, *errors(1))
    async with bench.running():
        await until_parked(bench, 1, attempts=1)
        assert bench.parked()[1].next_at == bench.clock.micros + 10_000_000
        await bench.pass_time(9.999_999)
        append_messages(bench.log, ["ben"])
        bench.wake()
        await bench.recorder.until_handled([2])
        assert bench.recorder.calls == [(1, 1), (2, 1)]
        await bench.pass_time(0.000_001)
        await bench.recorder.until_handled([1, 2])
    assert bench.recorder.calls == [(1, 1), (2, 1), (1, 2)]


@in_loop
async def test_a_success_leaves_nothing_behind(make_bench: MakeBench) -> None:
    """When a further attempt succeeds, nothing of the failure stays on record."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, *errors(1))
    async with bench.running():
        await until_parked(bench, 1, attempts=1)
        await bench.pass_time(10)
        await until(lambda: not bench.parked())
    assert bench.blocked() == {}
    assert bench.count_attempts(1) == 0


@in_loop
async def test_delays_grow(make_bench: MakeBench) -> None:
    """Each further failure makes the next delay longer, as the options say."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, *errors(3))
    async with bench.running():
        for attempts, delay in enumerate((10, 20, 40), start=1):
            await until_parked(bench, 1, attempts=attempts)
            assert bench.parked()[1].next_at == bench.clock.micros + delay * 1_000_000
            await bench.pass_time(delay)
        await bench.recorder.until_handled([1])


@in_loop
async def test_jitter_spreads_the_delays(make_bench: MakeBench) -> None:
    """With jitter a delay is a random part of what it would be."""
    bench = make_bench(Options(start="beginning", retry=RetryOptions(first=10, jitter=True)))
    append_messages(bench.log, ["ana"])
    bench.chance = 0.25
    bench.recorder.fail(1, *errors(1))
    async with bench.running():
        await until_parked(bench, 1, attempts=1)
        assert bench.parked()[1].next_at == bench.clock.micros + 2_500_000


@in_loop
async def test_a_handler_may_say_when(make_bench: MakeBench) -> None:
    """`Retry(after=…)` goes before the options."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, Retry(after="3m"))
    async with bench.running():
        await until_parked(bench, 1, attempts=1)
        assert bench.parked()[1].next_at == bench.clock.micros + 180_000_000


@in_loop
async def test_a_delivery_is_dead_after_its_attempts(make_bench: MakeBench) -> None:
    """The last failure that the options allow makes a dead letter, which is not tried again."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, *errors(9))
    async with bench.running() as delivery:
        for attempts in (1, 2, 3):
            await until_parked(bench, 1, attempts=attempts)
            await bench.pass_time(3600)
        await until_dead(bench, 1, attempts=4)
        await until(lambda: delivery.ledger.blocked == {})
        await bench.pass_time(100_000)
    assert bench.recorder.calls == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert bench.count_attempts(1) == 4
    assert bench.blocked() == {}


@in_loop
async def test_a_delivery_is_dead_at_once_where_there_is_one_attempt(make_bench: MakeBench) -> None:
    """With one attempt allowed nothing waits and nothing is blocked."""
    bench = make_bench(Options(start="beginning", retry=RetryOptions(attempts=1)))
    append_messages(bench.log, ["ana", "ana"])
    bench.recorder.fail(1, *errors(1))
    async with bench.running():
        await bench.recorder.until_handled([2])
    assert bench.parked()[1].state == "dead"
    assert bench.blocked() == {}


@in_loop
async def test_a_delivery_is_given_up_after_a_time(make_bench: MakeBench) -> None:
    """A failure that comes later than `give_up_after` is the last, whatever the attempts."""
    policy = RetryOptions(first=1, factor=1, give_up_after=60, jitter=False)
    bench = make_bench(Options(start="beginning", retry=policy))
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, *errors(9))
    async with bench.running():
        await until_parked(bench, 1, attempts=1)
        await bench.pass_time(59)
        await until_parked(bench, 1, attempts=2)
        await bench.pass_time(1)
        await until_dead(bench, 1, attempts=3)


@in_loop
async def test_a_rejected_delivery_is_dead_at_once(make_bench: MakeBench) -> None:
    """`Reject` ends a delivery in the first attempt or in a later one."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana", "ben"])
    bench.recorder.fail(1, Reject("no"))
    bench.recorder.fail(2, ValueError("busy"), Reject("no"))
    async with bench.running():
        await until_dead(bench, 1, attempts=1)
        await until_parked(bench, 2, attempts=1)
        await bench.pass_time(10)
        await until_dead(bench, 2, attempts=2)


@in_loop
async def test_a_retry_is_on_record_before_the_call(make_bench: MakeBench) -> None:
    """An attempt that takes the whole process with it has been counted."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, *errors(1))
    async with bench.crashing():
        await until_parked(bench, 1, attempts=1)
        bench.recorder.hold(1)
        await bench.pass_time(10)
        await bench.recorder.until_called((1, 1), (1, 2))
    assert bench.parked()[1].attempts == 2
    assert bench.count_attempts(1) == 2


@in_loop
async def test_what_waited_follows_in_order(make_bench: MakeBench) -> None:
    """Behind a failed delivery its subject waits; when that succeeds, all follow in log order."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana", "ana", "ben", "ana"])
    bench.recorder.fail(1, *errors(2))
    async with bench.running():
        await until_parked(bench, 1, attempts=1)
        await bench.recorder.until_handled([3])
        append_messages(bench.log, ["ana", "ben"])
        bench.wake()
        await bench.recorder.until_handled([3, 6])
        await bench.pass_time(10)
        await until_parked(bench, 1, attempts=2)
        await bench.pass_time(20)
        await bench.recorder.until_handled([1, 2, 3, 4, 5, 6])
    assert bench.recorder.of("ana") == [1, 2, 4, 5]
    assert bench.recorder.of("ben") == [3, 6]
    assert (bench.parked(), bench.blocked()) == ({}, {})


@in_loop
async def test_more_than_a_page_of_events_follows(make_bench: MakeBench) -> None:
    """However many events waited behind a failed one, each is handed over once and in order."""
    bench = make_bench(STEADY)
    positions = append_messages(bench.log, ["ana"] * (2 * PAGE + 50))
    bench.recorder.fail(1, *errors(1))
    async with bench.running() as delivery:
        await until_parked(bench, 1, attempts=1)
        await until(lambda: delivery.ledger.progress.cursor == positions[-1])
        await bench.pass_time(10)
        await bench.recorder.until_handled(positions)
    assert bench.recorder.positions == positions
    assert bench.blocked() == {}


@in_loop
async def test_one_row_stands_for_all_that_waits(make_bench: MakeBench) -> None:
    """A blocked subject costs one row, however many of its events wait."""
    bench = make_bench(STEADY)
    positions = append_messages(bench.log, ["ana"] * 300)
    bench.recorder.fail(1, *errors(1))
    async with bench.running() as delivery:
        await until(lambda: delivery.ledger.progress.cursor == positions[-1])
        await until(lambda: delivery.ledger.progress.pending == 0)
    assert bench.blocked() == {":ana": 1}
    assert list(bench.parked()) == [1]


@in_loop
async def test_what_comes_while_a_subject_catches_up_follows_too(make_bench: MakeBench) -> None:
    """Events that arrive while those that waited are handed over keep their place behind them."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana", "ana", "ana"])
    bench.recorder.fail(1, *errors(1))
    bench.recorder.hold(2)
    async with bench.running() as delivery:
        await until_parked(bench, 1, attempts=1)
        await until(lambda: delivery.ledger.progress.cursor == 3)
        await bench.pass_time(10)
        await bench.recorder.until_called((1, 1), (1, 2), (2, 1))
        append_messages(bench.log, ["ana", "ben", "ana"])
        bench.wake()
        await bench.recorder.until_handled([1, 5])
        bench.recorder.let_go(2)
        await bench.recorder.until_handled([1, 2, 3, 4, 5, 6])
    assert bench.recorder.of("ana") == [1, 2, 3, 4, 6]
    assert bench.recorder.doubled == []


@in_loop
async def test_a_subject_that_fails_again_waits_again(make_bench: MakeBench) -> None:
    """When one of those that waited fails in turn, those behind it wait for its next attempt."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana"] * 4)
    bench.recorder.fail(1, *errors(1))
    bench.recorder.fail(3, *errors(1))
    async with bench.running() as delivery:
        await until_parked(bench, 1, attempts=1)
        await until(lambda: delivery.ledger.progress.cursor == 4)
        await bench.pass_time(10)
        await until_parked(bench, 3, attempts=1)
        assert bench.recorder.positions == [1, 2]
        assert bench.blocked() == {":ana": 3}
        await bench.pass_time(10)
        await bench.recorder.until_handled([1, 2, 3, 4])
    assert bench.recorder.positions == [1, 2, 3, 4]
    assert (bench.parked(), bench.blocked()) == ({}, {})


@in_loop
async def test_a_dead_letter_releases_its_subject(make_bench: MakeBench) -> None:
    """With on_dead "release" the subject goes on behind the dead letter."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana", "ana"])
    bench.recorder.fail(1, ValueError("busy"), Reject("no"))
    async with bench.running():
        await until_parked(bench, 1, attempts=1)
        await bench.pass_time(10)
        await bench.recorder.until_handled([2])
    assert bench.blocked() == {}
    assert bench.parked()[1].state == "dead"


@pytest.mark.parametrize("error", [Reject("no"), ValueError("busy")])
@in_loop
async def test_a_dead_letter_holds_its_subject(make_bench: MakeBench, error: Exception) -> None:
    """With on_dead "hold" the subject waits behind the dead letter for the operator."""
    bench = make_bench(HOLDING)
    append_messages(bench.log, ["ana", "ana", "ben"])
    bench.recorder.fail(1, error, Reject("no"))
    async with bench.running():
        await bench.recorder.until_handled([3])
        if not isinstance(error, Reject):
            await until_parked(bench, 1, attempts=1)
            await bench.pass_time(10)
        await until(lambda: bench.parked() and bench.parked()[1].state == "dead")
        await bench.pass_time(100_000)
        append_messages(bench.log, ["ana", "ben"])
        bench.wake()
        await bench.recorder.until_handled([3, 5])
    assert bench.blocked() == {":ana": 1}
    async with bench.running():
        append_messages(bench.log, ["ana", "ben"])
        bench.wake()
        await bench.recorder.until_handled([3, 5, 7])


@in_loop
async def test_without_an_order_nothing_waits(make_bench: MakeBench) -> None:
    """With order "none" a failed delivery is tried again, and its subject goes on meanwhile."""
    bench = make_bench(UNORDERED)
    append_messages(bench.log, ["ana", "ana", "ana"])
    bench.recorder.fail(1, *errors(1))
    async with bench.running():
        await bench.recorder.until_handled([2, 3])
        await until_parked(bench, 1, attempts=1)
        assert bench.blocked() == {}
        await bench.pass_time(10)
        await bench.recorder.until_handled([1, 2, 3])
        await until(lambda: bench.parked() == {})


@in_loop
async def test_retries_are_taken_up_by_the_next_owner(make_bench: MakeBench) -> None:
    """What is parked and blocked goes on under a new owner, at the time it was due, in order."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana", "ana", "ben"])
    bench.recorder.fail(1, *errors(1))
    async with bench.running():
        await until_parked(bench, 1, attempts=1)
        await bench.recorder.until_handled([3])
    bench.clock.advance(4)
    async with bench.running() as delivery:
        append_messages(bench.log, ["ana", "ben"])
        bench.wake()
        await bench.recorder.until_handled([3, 5])
        assert delivery.ledger.blocked == {":ana": 1}
        await bench.pass_time(6)
        await bench.recorder.until_handled([1, 2, 3, 4, 5])
    assert bench.recorder.of("ana") == [1, 2, 4]
    assert bench.recorder.calls[-3:] == [(1, 2), (2, 1), (4, 1)]


@in_loop
async def test_a_subject_blocked_for_no_reason_is_released(make_bench: MakeBench) -> None:
    """Where an owner died between a success and the release, the next one lets the subject go on.

    The follower that was under way is handed over again: delivery is at least once.
    """
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana", "ana", "ana"])
    bench.recorder.fail(1, *errors(1))
    bench.recorder.hold(2)
    async with bench.crashing() as delivery:
        await until_parked(bench, 1, attempts=1)
        await until(lambda: delivery.ledger.progress.cursor == 3)
        await bench.pass_time(10)
        await bench.recorder.until_called((1, 1), (1, 2), (2, 1))
    assert bench.parked() == {}
    assert bench.blocked() == {":ana": 1}
    bench.recorder.let_go(2)
    async with bench.running():
        await bench.recorder.until_handled([1, 2, 3])
    assert bench.blocked() == {}


@in_loop
async def test_a_dead_letter_is_settled_whatever_happens_next(make_bench: MakeBench) -> None:
    """An owner that dies right after it wrote a dead letter down leaves it settled."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana", "ben"])
    bench.recorder.fail(1, Reject("no"), Reject("no"))
    bench.recorder.hold(2)
    async with bench.crashing():
        await until_dead(bench, 1, attempts=1)
    bench.recorder.let_go(2)
    async with bench.running():
        await bench.recorder.until_handled([2])
    assert bench.recorder.calls.count((1, 1)) == 1


@in_loop
async def test_a_parked_delivery_is_settled_whatever_happens_next(make_bench: MakeBench) -> None:
    """An owner that dies right after it parked a delivery leaves it to be tried again, no more."""
    bench = make_bench(UNORDERED)
    append_messages(bench.log, ["ana", "ben"])
    bench.recorder.fail(1, *errors(2))
    bench.recorder.hold(2)
    async with bench.crashing():
        await until_parked(bench, 1, attempts=1)
    bench.recorder.let_go(2)
    async with bench.running():
        await bench.recorder.until_handled([2])
        await bench.pass_time(10)
        await until_parked(bench, 1, attempts=2)
        await bench.pass_time(20)
        await bench.recorder.until_handled([1, 2])
    assert [call for call in bench.recorder.calls if call[0] == 1] == [(1, 1), (1, 2), (1, 3)]


@in_loop
async def test_what_is_settled_ahead_is_known_before_a_subject_goes_on(
    make_bench: MakeBench,
) -> None:
    """A new owner lets nothing go before it has read past all that is on record as settled.

    Some of that may be settled because it waits behind the very subject.
    """
    bench = make_bench(STEADY)
    positions = append_messages(bench.log, ["ana", "ben", *["cleo"] * (25 * PAGE), "ana"])
    bench.recorder.fail(1, *errors(1))
    bench.recorder.hold(2)
    async with bench.crashing() as delivery:
        await until_parked(bench, 1, attempts=1)
        await until(lambda: len(bench.recorder.handled) == 25 * PAGE)
        await until(lambda: delivery.ledger.progress.pending == 1)
        await bench.pass_time(1)
        await until(lambda: bench.recorded().done == f"[[3,{positions[-1]}]]")
    bench.recorder.let_go(2)
    bench.clock.advance(3600)
    async with bench.running():
        await bench.recorder.until_handled(positions)
    assert bench.recorder.of("ana") == [1, positions[-1]]


@in_loop
async def test_an_event_that_ends_its_process_is_given_up(make_bench: MakeBench) -> None:
    """A last attempt whose end nobody saw counts: the event is not called again, and set aside."""
    bench = make_bench(STEADY)
    append_messages(bench.log, ["ana", "ana"])
    bench.recorder.fail(1, *errors(3))
    async with bench.crashing():
        for attempts in (1, 2, 3):
            await until_parked(bench, 1, attempts=attempts)
            if attempts == 3:
                bench.recorder.hold(1)
            await bench.pass_time(3600)
        await bench.recorder.until_called((1, 1), (1, 2), (1, 3), (1, 4))
    async with bench.running():
        await until_dead(bench, 1, attempts=4)
        await bench.recorder.until_handled([2])
    assert bench.recorder.calls[-1] == (2, 1)


@in_loop
async def test_many_subjects_fail_and_each_recovers_by_itself(make_bench: MakeBench) -> None:
    """Subjects that fail at the same time wait for themselves alone and lose no event."""
    bench = make_bench(STEADY)
    names = [f"c{number}" for number in range(40)]
    positions = append_messages(bench.log, names * 3)
    for position in range(1, 41, 2):
        bench.recorder.fail(position, *errors(2))
    async with bench.running():
        await until(lambda: len(bench.parked()) == 20)
        await bench.recorder.until_handled([p for p in positions if p % 2 == 0])
        await bench.pass_time(10)
        for position in range(1, 41, 2):
            await until_parked(bench, position, attempts=2)
        await bench.pass_time(3600)
        await bench.recorder.until_handled(positions)
    for at, name in enumerate(names, start=1):
        assert bench.recorder.of(name) == [at, at + 40, at + 80]
    assert (bench.parked(), bench.blocked()) == ({}, {})
    assert bench.recorder.doubled == []
