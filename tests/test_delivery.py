"""Tests of `router.delivery`: one lane's events are handed over in order, subject by subject."""

import pytest
from sqlalchemy.exc import IntegrityError

from router.delivery import FLUSH_MICROS
from router.events import EventType, Replaying
from router.filters import Filter
from router.intake import PAGE, POLL, Span
from router.options import Options
from router.retry import Reject
from router.room import WINDOW
from tests.bench import MakeBench
from tests.entries import append, append_messages, make_entry
from tests.loops import in_loop
from tests.waiting import until

# One engine is enough: what is tested is the order of calls, not SQL; some of it on each engine.
pytestmark = pytest.mark.engines("sqlite")

EAGER = Options(start="beginning")


@in_loop
async def test_a_subject_is_handled_in_log_order(make_bench: MakeBench) -> None:
    """Of one subject, each call begins when the one before has ended, in the order of the log."""
    bench = make_bench(EAGER)
    positions = append_messages(bench.log, ["ana", "ben", "ana", "ana", "ben"] * 20)
    async with bench.running():
        await bench.recorder.until_handled(positions)
    for name in ("ana", "ben"):
        assert bench.recorder.of(name) == sorted(bench.recorder.of(name))
    assert bench.recorder.doubled == []


@in_loop
async def test_subjects_run_side_by_side(make_bench: MakeBench) -> None:
    """A subject whose handler takes long holds up no other."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana", "ben", "cleo", "ana", "ben"])
    bench.recorder.hold(1)
    async with bench.running():
        await bench.recorder.until_handled([2, 3, 5])
        assert bench.recorder.underway == 1
        bench.recorder.let_go(1)
        await bench.recorder.until_handled([1, 2, 3, 4, 5])


@in_loop
async def test_no_more_calls_are_under_way_than_agreed(make_bench: MakeBench) -> None:
    """However many subjects have events, no more than `concurrency` are in handlers at once."""
    bench = make_bench(Options(start="beginning", concurrency=3))
    positions = append_messages(bench.log, [str(number) for number in range(10)])
    bench.recorder.hold(*positions)
    async with bench.running():
        await until(lambda: bench.recorder.underway == 3)
        await until(lambda: bench.delivery.ledger.progress.pending == 10)
        assert bench.recorder.underway == 3
        bench.recorder.let_go(*positions)
        await bench.recorder.until_handled(positions)
    assert bench.recorder.most == 3


@in_loop
async def test_without_an_order_a_subject_runs_side_by_side(make_bench: MakeBench) -> None:
    """With order "none" the events of one subject are handled at once."""
    bench = make_bench(Options(start="beginning", order="none"))
    positions = append_messages(bench.log, ["ana"] * 3)
    bench.recorder.hold(*positions)
    async with bench.running():
        await until(lambda: bench.recorder.underway == 3)
        bench.recorder.let_go(*positions)
        await bench.recorder.until_handled(positions)


@in_loop
async def test_more_than_a_page_is_delivered(make_bench: MakeBench) -> None:
    """What does not fit into one page follows without waiting for anything."""
    bench = make_bench(EAGER)
    positions = append_messages(bench.log, [str(n % 7) for n in range(3 * PAGE + 1)])
    async with bench.running():
        await bench.recorder.until_handled(positions)
    assert bench.recorded().checkpoint == positions[-1]


@in_loop
async def test_new_events_are_delivered_when_it_is_woken(make_bench: MakeBench) -> None:
    """A wake-up brings what was appended without any time passing."""
    bench = make_bench(EAGER)
    async with bench.running():
        for position in (1, 2, 3):
            append_messages(bench.log, ["ana"])
            bench.wake()
            await bench.recorder.until_handled(range(1, position + 1))


@in_loop
async def test_a_lost_wake_up_delays_by_the_poll(make_bench: MakeBench) -> None:
    """Without a wake-up new events are found after the poll's time, and not later."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana"])
    async with bench.running():
        await bench.recorder.until_handled([1])
        await bench.pass_time(0)
        append_messages(bench.log, ["ana"])
        await bench.pass_time(POLL)
        await bench.recorder.until_handled([1, 2])


@in_loop
async def test_only_what_matches_is_delivered(make_bench: MakeBench) -> None:
    """The checkpoint passes over events that match nothing, to the end of the log."""
    bench = make_bench(EAGER)
    kinds: list[EventType] = ["read", "message", "sent", "message", "delivered", "other"]
    append(bench.log, *(make_entry("ana", kind) for kind in kinds))
    async with bench.running(Span(Filter(types=("message",)))) as delivery:
        await bench.recorder.until_handled([2, 4])
        await until(lambda: delivery.ledger.progress.cursor == 6)
    assert bench.recorded()[:2] == (6, "[]")


@in_loop
async def test_an_empty_log_is_waited_on(make_bench: MakeBench) -> None:
    """Where there is nothing to deliver, nothing is, and the lane stays at its start."""
    bench = make_bench(EAGER)
    async with bench.running():
        await bench.pass_time(POLL)
        await bench.pass_time(POLL)
    assert bench.recorded()[:2] == (0, "[]")


@in_loop
async def test_progress_is_on_record_every_second(make_bench: MakeBench) -> None:
    """A lane that runs on writes down how far it has come, with what is settled above it."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana", "ben", "ana", "cleo"])
    bench.recorder.hold(1)
    async with bench.running():
        await bench.recorder.until_handled([2, 4])
        await bench.pass_time(FLUSH_MICROS / 1_000_000)
        await until(lambda: bench.recorded()[:2] == (0, "[[2,2],[4,4]]"))
        bench.recorder.let_go(1)
        await bench.recorder.until_handled([1, 2, 3, 4])
        await bench.pass_time(FLUSH_MICROS / 1_000_000)
        await until(lambda: bench.recorded()[:2] == (4, "[]"))


@in_loop
async def test_what_is_settled_on_record_is_not_handed_over_again(make_bench: MakeBench) -> None:
    """After a crash only what was not on record as settled is delivered once more."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana", "ben", "ana", "cleo"])
    bench.recorder.hold(1)
    async with bench.crashing():
        await bench.recorder.until_handled([2, 4])
        await bench.pass_time(FLUSH_MICROS / 1_000_000)
        await until(lambda: bench.recorded().done == "[[2,2],[4,4]]")
    bench.recorder.let_go(1)
    async with bench.running():
        await bench.recorder.until_handled([1, 2, 3, 4])
    assert bench.recorder.calls == [(1, 1), (2, 1), (4, 1), (1, 1), (3, 1)]


@in_loop
async def test_what_was_not_on_record_is_handed_over_again(make_bench: MakeBench) -> None:
    """Delivery is at least once: a success that no record holds after a crash comes again."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana"])
    async with bench.crashing() as delivery:
        await until(lambda: bench.recorded().checkpoint == 1)
        append_messages(bench.log, ["ana", "ben"])  # progress is written down once a second
        delivery.wake()
        await bench.recorder.until_handled([1, 2, 3])
    assert bench.recorded()[:2] == (1, "[]")
    async with bench.running():
        await until(lambda: len(bench.recorder.calls) == 5)
    assert sorted(bench.recorder.positions) == [1, 2, 2, 3, 3]
    assert bench.recorded().checkpoint == 3


@in_loop
async def test_a_stop_waits_for_the_calls_under_way(make_bench: MakeBench) -> None:
    """Handlers that were called may finish; what waits behind them is left to the next owner."""
    bench = make_bench(Options(start="beginning", concurrency=2))
    append_messages(bench.log, ["ana", "ben", "ana", "cleo"])
    bench.recorder.hold(1, 2)
    async with bench.running() as delivery:
        await bench.recorder.until_called((1, 1), (2, 1))
        delivery.stop()
        bench.recorder.let_go(1)
        await bench.recorder.until_handled([1])
        assert not bench.task.done()
        bench.recorder.let_go(2)
        await until(bench.task.done)
    assert bench.recorder.positions == [1, 2]
    assert bench.recorded()[:2] == (2, "[]")
    async with bench.running():
        await bench.recorder.until_handled([1, 2, 3, 4])


@in_loop
async def test_memory_is_bounded_by_the_window(make_bench: MakeBench) -> None:
    """Behind a subject that does not come on, no more events are taken than the window holds."""
    bench = make_bench(EAGER)
    positions = append_messages(bench.log, ["ana"] * (WINDOW + 300))
    bench.recorder.hold(1)
    async with bench.running() as delivery:
        await until(lambda: delivery.ledger.progress.pending == WINDOW)
        for _ in range(3):
            await bench.pass_time(POLL)
        assert delivery.ledger.progress.pending == delivery.ledger.progress.cursor == WINDOW
        bench.recorder.let_go(1)
        await bench.recorder.until_handled(positions)
    assert bench.recorder.positions == positions


@in_loop
async def test_calls_keep_the_agreed_pace(make_bench: MakeBench) -> None:
    """With a rate, calls begin no closer together than it says."""
    bench = make_bench(Options(start="beginning", rate=4))
    append_messages(bench.log, ["ana", "ben", "cleo"])
    async with bench.running() as delivery:
        await bench.recorder.until_handled([1])
        await until(lambda: delivery.ledger.progress.pending == 2)
        for calls in ([(1, 1)], [(1, 1), (2, 1)]):
            await bench.pass_time(0.249_999)
            await bench.settled()
            assert bench.recorder.calls == calls
            await bench.pass_time(0.000_001)
            await until(lambda: len(bench.recorder.calls) > len(calls))  # noqa: B023 - ends here


@in_loop
async def test_a_span_comes_to_its_end(make_bench: MakeBench) -> None:
    """A replay's delivery ends by itself when all of its range is settled, and no event beyond."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana", "ben", "ana", "ben"])
    span = Span(Filter(), until=3, replay=Replaying(7, "a test"))
    async with bench.running(span) as delivery:
        await until(bench.task.done)
        assert delivery.is_finished
    assert sorted(bench.recorder.positions) == [1, 2, 3]
    assert bench.recorded().checkpoint == 3
    assert {event.replay for event in bench.recorder.handled} == {Replaying(7, "a test")}


@in_loop
async def test_live_events_are_no_replay(make_bench: MakeBench) -> None:
    """An event that is delivered live tells its handler of no replay."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana"])
    async with bench.running():
        await bench.recorder.until_handled([1])
    assert bench.recorder.handled[0].replay is None
    assert bench.recorder.handled[0] == bench.log.find("1")


@in_loop
async def test_a_span_without_events_is_at_its_end(make_bench: MakeBench) -> None:
    """Where nothing matches, the delivery ends with its checkpoint at the range's end."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana", "ben"])
    async with bench.running(Span(Filter(types=("read",)), until=2)) as delivery:
        await bench.pass_time(POLL)
        await until(bench.task.done)
        assert delivery.is_finished
    assert bench.recorded().checkpoint == 2


@pytest.mark.parametrize("options", [EAGER, Options(start="beginning", order="none")])
@in_loop
async def test_a_span_waits_for_its_retries(make_bench: MakeBench, options: Options) -> None:
    """A replay is not at its end while one of its deliveries is to be tried again."""
    bench = make_bench(options)
    append_messages(bench.log, ["ana", "ana"])
    bench.recorder.fail(1, ValueError("busy"))
    async with bench.running(Span(Filter(), until=2)) as delivery:
        await until(bench.parked)
        await until(lambda: delivery.ledger.progress.cursor == 2)
        await bench.pass_time(POLL)
        assert not delivery.is_finished
        await bench.pass_time(3600)
        await until(bench.task.done)
    assert sorted(bench.recorder.positions) == [1, 2]


@in_loop
async def test_a_span_waits_for_what_is_held(make_bench: MakeBench) -> None:
    """A replay is not at its end while events wait behind a dead letter that holds them."""
    bench = make_bench(Options(start="beginning", on_dead="hold"))
    append_messages(bench.log, ["ana", "ana"])
    bench.recorder.fail(1, Reject("nobody's"))
    async with bench.running(Span(Filter(), until=2)) as delivery:
        await until(lambda: delivery.ledger.progress.cursor == 2)
        await until(bench.blocked)
        await bench.pass_time(POLL)
        assert not delivery.is_finished
        assert not bench.task.done()
    assert bench.recorder.positions == []


@in_loop
async def test_a_span_that_is_stopped_is_not_finished(make_bench: MakeBench) -> None:
    """A replay that stops in the middle goes on later where it was."""
    bench = make_bench(Options(start="beginning", concurrency=1))
    append_messages(bench.log, ["ana", "ben", "cleo"])
    bench.recorder.hold(2)
    async with bench.running(Span(Filter(), until=3)) as delivery:
        await bench.recorder.until_called((1, 1), (2, 1))
        delivery.stop()
        bench.recorder.let_go(2)
        await until(bench.task.done)
        assert not delivery.is_finished
    async with bench.running(Span(Filter(), until=3)):
        await until(bench.task.done)
    assert bench.recorder.positions == [1, 2, 3]


@in_loop
async def test_who_has_lost_the_lane_stops(make_bench: MakeBench) -> None:
    """A delivery whose lane another worker took cancels its calls and writes nothing more."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana", "ben"])
    bench.recorder.hold(1)
    async with bench.losing_its_lane():
        await bench.recorder.until_handled([2])
        await bench.pass_time(0)
        bench.take_away()
        await bench.pass_time(FLUSH_MICROS / 1_000_000)
        await until(bench.task.done)
        await until(lambda: bench.recorder.underway == 0)
    assert bench.recorder.positions == [2]
    assert bench.recorded() == (0, "[]", "another", 2)


@in_loop
async def test_a_failure_is_not_written_without_the_lane(make_bench: MakeBench) -> None:
    """A call that fails after the lane was taken leaves no trace of its failure."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana"])
    bench.recorder.hold(1)
    bench.recorder.fail(1, Reject("no"))
    async with bench.losing_its_lane():
        await bench.recorder.until_called((1, 1))
        await bench.pass_time(0)
        bench.take_away()
        bench.recorder.let_go(1)
        await until(bench.task.done)
    assert (bench.parked(), bench.blocked()) == ({}, {})


@in_loop
async def test_cutting_ends_the_calls_under_way(make_bench: MakeBench) -> None:
    """Where the lane is known to be lost, calls are cancelled, and the delivery ends."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana", "ben"])
    bench.recorder.hold(1, 2)
    async with bench.running() as delivery:
        await bench.recorder.until_called((1, 1), (2, 1))
        delivery.cut()
        await until(bench.task.done)
        assert bench.recorder.underway == 0
    assert bench.recorder.handled == []
    assert bench.recorded()[:2] == (0, "[]")


@in_loop
async def test_while_one_subject_fails_for_ever_all_others_come_on(make_bench: MakeBench) -> None:
    """A failing subject takes no slot, no window and no row more, whatever comes of it."""
    bench = make_bench(Options(start="beginning", concurrency=1))
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, *(ValueError("busy") for _ in range(100)))
    async with bench.running() as delivery:
        await until(bench.parked)
        positions = append_messages(bench.log, ["ana"] * WINDOW + ["ben"])
        bench.wake()
        await bench.recorder.until_handled(positions[-1:])
        await until(lambda: delivery.ledger.progress.pending == 0)
    assert bench.recorded().checkpoint == positions[-1]
    assert bench.blocked() == {":ana": 1}
    assert list(bench.parked()) == [1]


@in_loop
async def test_an_error_in_the_record_ends_the_delivery(make_bench: MakeBench) -> None:
    """What goes wrong in our own work is not swallowed: whoever runs the delivery learns of it."""
    bench = make_bench(EAGER)
    append_messages(bench.log, ["ana"])
    bench.recorder.fail(1, ValueError("busy"))
    async with bench.running():
        await until(bench.parked)
    bench.forget_progress()  # as no transaction of ours leaves it
    bench.recorder.fail(1, ValueError("busy"))
    with pytest.raises(IntegrityError):
        await bench.run()
    assert bench.recorder.calls == [(1, 1), (1, 1)]
