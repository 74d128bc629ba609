"""Tests of `router.delivery`: one event at a time, where one may end its process."""

import asyncio

from router.intake import POLL
from router.options import Options, RetryOptions
from tests.bench import Bench, MakeBench
from tests.entries import append_messages
from tests.loops import in_loop
from tests.records import ParkedRow
from tests.waiting import until

OPTIONS = Options(
    start="beginning", retry=RetryOptions(first=10, factor=1, attempts=5, jitter=False)
)


async def die(bench: Bench, *positions: int) -> None:
    """Let an owner fall silent in the calls with these events, which hang, and clear the record."""
    bench.recorder.calls.clear()
    async with bench.dying():
        await until(lambda: set(positions) <= {position for position, _ in bench.recorder.calls})


async def make_suspect(make_bench: MakeBench, conversations: list[str]) -> Bench:
    """Return a bench whose lane two owners have left in silence, in the call with event 1."""
    bench = make_bench(OPTIONS)
    append_messages(bench.log, conversations)
    bench.recorder.hold(1)
    await die(bench, *range(1, 4))
    await die(bench, *range(1, 4))
    bench.recorder.calls.clear()
    bench.recorder.handled.clear()
    return bench


@in_loop
async def test_an_event_that_ends_its_process_is_found(make_bench: MakeBench) -> None:
    """At the third try it is called for by itself, and on record before that as such."""
    bench = await make_suspect(make_bench, ["ana", "ben", "cleo"])
    async with bench.dying():
        await bench.recorder.until_called((1, 1))
        assert bench.outcomes(1) == ["alone"]
        assert bench.parked()[1].attempts == 1
        assert bench.blocked() == {":ana": 1}
        for _ in range(20):
            await asyncio.sleep(0)
        assert bench.recorder.calls == [(1, 1)]
    async with bench.running():
        await bench.recorder.until_handled([2, 3])
    assert bench.parked() == {1: ParkedRow("dead", 1, None)}
    assert bench.given_up == [1]
    assert bench.recorder.calls == [(1, 1), (2, 1), (3, 1)]


@in_loop
async def test_behind_the_guilty_one_its_subject_goes_on(make_bench: MakeBench) -> None:
    """It is dead like any other: what waited behind it follows, each event by itself."""
    bench = await make_suspect(make_bench, ["ana", "ben", "cleo", "ana", "ana"])
    await die(bench, 1)
    bench.recorder.most = 0
    async with bench.running():
        await bench.recorder.until_handled([2, 3, 4, 5])
    assert bench.recorder.of("ana") == [4, 5]
    assert bench.recorder.most == 1
    assert (bench.given_up, bench.blocked()) == ([1], {})


@in_loop
async def test_whoever_is_innocent_is_delivered(make_bench: MakeBench) -> None:
    """Where nothing ends the process any more, nothing is blamed, and nothing of it is left."""
    bench = await make_suspect(make_bench, ["ana", "ben", "cleo"])
    bench.recorder.let_go(1)
    bench.recorder.most = 0
    async with bench.running():
        await bench.recorder.until_handled([1, 2, 3])
    assert bench.recorder.positions == [1, 2, 3]
    assert bench.recorder.most == 1
    assert (bench.parked(), bench.blocked(), bench.given_up) == ({}, {}, [])
    assert bench.outcomes(1) == []
    assert bench.takeovers() == 0


@in_loop
async def test_a_failure_alone_is_an_ordinary_one(make_bench: MakeBench) -> None:
    """It has an end on record, and is tried again when it is due; its subject waits."""
    bench = await make_suspect(make_bench, ["ana", "ben", "cleo", "ana"])
    bench.recorder.let_go(1)
    bench.recorder.fail(1, ValueError("busy"))
    async with bench.running():
        await bench.recorder.until_handled([2, 3])
        assert bench.outcomes(1) == ["failed"]
        assert bench.parked()[1] == ParkedRow("retry", 1, bench.clock.micros + 10_000_000)
        await bench.pass_time(10)
        await bench.recorder.until_handled([1, 2, 3, 4])
    assert bench.recorder.of("ana") == [1, 4]
    assert bench.given_up == []


@in_loop
async def test_when_all_is_seen_through_the_lane_runs_as_ever(make_bench: MakeBench) -> None:
    """Behind what was there, subjects are handled side by side again."""
    bench = await make_suspect(make_bench, ["ana", "ben", "cleo"])
    bench.recorder.let_go(1)
    async with bench.running():
        await bench.recorder.until_handled([1, 2, 3])
        for _ in range(2):  # one look may still be of the careful kind
            looks = bench.looks
            await bench.pass_time(POLL)
            await until(lambda: bench.looks > looks)  # noqa: B023 - ends here
        bench.recorder.hold(4, 5)
        append_messages(bench.log, ["dora", "eve"])
        bench.wake()
        await until(lambda: bench.recorder.underway == 2)
        bench.recorder.let_go(4, 5)
        await bench.recorder.until_handled([1, 2, 3, 4, 5])


@in_loop
async def test_a_retry_that_ends_its_process_is_found(make_bench: MakeBench) -> None:
    """What is tried again is tried by itself, too, and before anything new."""
    bench = make_bench(OPTIONS)
    append_messages(bench.log, ["ana", "ben"])
    bench.recorder.fail(1, ValueError("busy"))
    async with bench.running():
        await bench.recorder.until_handled([2])
        await until(bench.parked)
    bench.clock.advance(10)
    bench.recorder.hold(1)
    append_messages(bench.log, ["cleo"])
    for _ in range(2):
        await die(bench, 1)
    assert bench.outcomes(1) == ["failed", "running", "running"]
    bench.recorder.calls.clear()
    async with bench.dying():
        await until(lambda: (1, 4) in bench.recorder.calls)
        assert bench.outcomes(1)[3:] == ["alone"]
    async with bench.running():
        await until(lambda: bench.given_up == [1])
    assert bench.parked() == {1: ParkedRow("dead", 4, None)}


@in_loop
async def test_one_silence_blames_nobody(make_bench: MakeBench) -> None:
    """A machine may fail: after one takeover the lane runs as ever, and then it is forgotten."""
    bench = make_bench(OPTIONS)
    append_messages(bench.log, ["ana", "ben"])
    bench.recorder.hold(1, 2)
    await die(bench, 1, 2)
    bench.recorder.calls.clear()
    async with bench.running():
        await until(lambda: bench.recorder.underway == 2)
        assert bench.takeovers() == 1
        bench.recorder.let_go(1, 2)
        await bench.recorder.until_handled([1, 2])
    assert bench.takeovers() == 0


@in_loop
async def test_silence_is_not_forgotten_before_the_place_is_passed(make_bench: MakeBench) -> None:
    """Who settles others and dies again is counted, however much was settled above."""
    bench = make_bench(OPTIONS)
    append_messages(bench.log, ["ana", "ben"])
    bench.recorder.hold(1)
    for _ in range(2):
        bench.recorder.calls.clear()
        async with bench.dying():
            await until(lambda: (1, 1) in bench.recorder.calls)
            positions = append_messages(bench.log, ["dora"])
            bench.wake()
            await until(lambda: positions[0] in bench.recorder.positions)  # noqa: B023
            await bench.pass_time(1)
            await until(lambda: str(positions[0]) in bench.recorded().done)  # noqa: B023
    async with bench.dying():
        await until(lambda: bench.outcomes(1) == ["alone"])
