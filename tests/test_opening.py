"""Tests of `router.opening`: what deliveries have for themselves, and what they share."""

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import Connection

from router.clock import Clock
from router.delivery import Delivery
from router.events import Event, Replaying
from router.hookspecs import hookimpl
from router.intake import Span
from router.lane import Lane
from router.lanes import Lanes
from router.log import EventLog
from router.opening import Objection, Opener
from router.options import Options
from router.outlet import Outlet
from router.replay import Replays
from router.replay_runs import ReplayRuns
from router.roster import Roster
from router.subscriptions import Caller, Subscription
from router.tail import Tail
from router.turns import Pace, Turns
from tests.bench import HandClock
from tests.entries import append_messages
from tests.loops import in_loop
from tests.subscribers import make_subscription

SLOW = 0.001  # calls a second


class Opened(Delivery):
    """A delivery that shows what it was given."""

    def __init__(self, span: Span, **parts: Any) -> None:  # noqa: ANN401 - whatever there is
        super().__init__(span, **parts)
        self.span = span
        self.caller: Caller = parts["caller"]
        self.pace: Pace = parts["pace"]
        self.turns: Turns = parts["turns"]


@hookimpl(replay="allow")
def on_message(event: Event) -> None:
    """Allow replays."""


def subscribe(*, rate: float | None = None, lanes: int = 1, **hooks: Any) -> Subscription:  # noqa: ANN401
    """Return a subscription with these hooks, or with one that allows replays."""
    options = Options(start="now", rate=rate, lanes=lanes)
    return make_subscription("crm", options, **(hooks or {"on_message": on_message}))


class Office:
    """Opens what is asked for to be opened.

    Attributes:
        clock: By which it is waited.
        opener: What is tested.
        live: The lanes of live delivery.
    """

    def __init__(self, log: EventLog, subscription: Subscription) -> None:
        self.clock = HandClock()
        self._log = log
        roster = Roster(log.store, pid=1)
        roster.declare("crm", {"message": "allow"}, subscription.options)
        self._lanes = Lanes(log.store, worker=roster.worker)
        self.live = self._lanes.claim(["crm"])
        clock = Clock(now=lambda: self.clock.micros, sleep=self.clock.sleep, random=lambda: 0.5)
        self.opener = Opener(
            {"crm": subscription},
            log=log,
            lanes=self._lanes,
            runs=ReplayRuns(log.store),
            tail=Tail(log, types=("message",), now=clock.now),
            clock=clock,
            outlet=Outlet(),
        )

    async def open_live(self) -> Opened:
        """Open the first lane of live delivery."""
        return await self._open(self.live[0])

    async def open_replay(
        self,
        *,
        rate: float | None = None,
        concurrency: int | None = None,
        include_effects: bool = False,
    ) -> Sequence[Opened]:
        """Start a replay of all, and open its lanes."""
        replays = Replays(self._log)
        plan = replays.plan("crm", include_effects=include_effects)
        replays.start(plan, reason="why not", by="ana", rate=rate, concurrency=concurrency)
        ReplayRuns(self._log.store).take_up(["crm"])
        return [await self._open(lane) for lane in self._lanes.claim(["crm"])]

    async def _open(self, lane: Lane) -> Opened:
        opened = await self.opener.open(
            lane, on_dead=lambda event, attempts, error: None, on_breaker=lambda: None
        )
        assert isinstance(opened, Opened)
        return opened


class Offices:
    """Makes offices, and closes them."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._made: list[Office] = []

    def make(self, subscription: Subscription) -> Office:
        """Return an office for a subscription."""
        self._made.append(Office(self._log, subscription))
        return self._made[-1]

    def close(self) -> None:
        """Close them."""
        for office in self._made:
            office.opener.close()


@pytest.fixture
def offices(log: EventLog, monkeypatch: pytest.MonkeyPatch) -> Iterator[Offices]:
    """Makes offices, with a log of two messages."""
    monkeypatch.setattr("router.opening.Delivery", Opened)
    append_messages(log, ["ana", "ben"])
    offices = Offices(log)
    yield offices
    offices.close()


@in_loop
async def test_replays_share_what_they_do_not_ask_for(offices: Offices) -> None:
    """Their calls are made by one caller at one pace, apart from live delivery."""
    office = offices.make(subscribe())
    live = await office.open_live()
    [one], [other] = await office.open_replay(), await office.open_replay()
    assert one.caller is other.caller is not live.caller
    assert one.pace is other.pace is not live.pace
    assert not one.pace.is_limited


@pytest.mark.parametrize(("rate", "concurrency", "calls"), [(5, None, 32), (None, 3, 3)])
@in_loop
async def test_a_replay_has_for_itself_what_it_asks_for(
    offices: Offices, rate: float | None, concurrency: int | None, calls: int
) -> None:
    """For all of its lanes together."""
    office = offices.make(subscribe(lanes=2))
    first, second = await office.open_replay(rate=rate, concurrency=concurrency)
    shared, _ = await office.open_replay()
    assert first.caller is second.caller is not shared.caller
    assert first.pace is second.pace is not shared.pace
    assert first.caller.concurrency == calls
    assert first.pace.is_limited == (rate is not None)


def transact(event: Event, connection: Connection) -> None:
    """Handle an event within the transaction that settles it."""


@in_loop
async def test_a_lane_makes_one_transactional_call_at_a_time(offices: Offices) -> None:
    """Whatever its replay asks for."""
    office = offices.make(subscribe(on_message=transact))
    [replay] = await office.open_replay(concurrency=3)
    assert replay.caller.concurrency == 1


@in_loop
async def test_a_subject_has_one_turn_live_or_replayed(offices: Offices) -> None:
    """All deliveries of a subscription share the turns."""
    office = offices.make(subscribe())
    live = await office.open_live()
    [one], [other] = await office.open_replay(), await office.open_replay(rate=5)
    assert live.turns is one.turns is other.turns


@pytest.mark.parametrize("rate", [None, 1_000])
@in_loop
async def test_the_subscriptions_rate_holds_for_replays(
    offices: Offices, rate: float | None
) -> None:
    """A call of either counts; where both wait, live delivery goes before."""
    office = offices.make(subscribe(rate=SLOW))
    live, [replay] = await office.open_live(), await office.open_replay(rate=rate)
    assert live.pace.try_pass()
    assert not replay.pace.try_pass()
    replaying = asyncio.create_task(replay.pace.keep(first=False))
    await asyncio.sleep(0)
    living = asyncio.create_task(live.pace.keep())
    await asyncio.sleep(0)
    office.clock.advance(1 / SLOW)
    await living
    assert not replaying.done()
    replaying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await replaying


@in_loop
async def test_what_a_replay_had_for_itself_is_let_go(offices: Offices) -> None:
    """Its threads end with it; what it shared with others stays."""
    office = offices.make(subscribe())
    [shared], [own] = await office.open_replay(), await office.open_replay(concurrency=3)
    for run in (0, 1, 2):
        office.opener.forget(run)
    with pytest.raises(RuntimeError, match="have been let go"):
        own.caller.crew.submit(lambda: None)
    assert await asyncio.wrap_future(shared.caller.crew.submit(lambda: 7)) == 7


@in_loop
async def test_at_the_end_all_is_let_go(offices: Offices) -> None:
    """Of live delivery, of replays, and of those that have something for themselves."""
    office = offices.make(subscribe())
    live, [shared] = await office.open_live(), await office.open_replay()
    [own] = await office.open_replay(concurrency=3)
    office.opener.close()
    for opened in (live, shared, own):
        with pytest.raises(RuntimeError, match="have been let go"):
            opened.caller.crew.submit(lambda: None)


@in_loop
async def test_a_replay_ends_and_says_why_it_is_made(offices: Offices) -> None:
    """Its span is what was planned; live delivery has neither end nor reason."""
    office = offices.make(subscribe())
    live, [replay] = await office.open_live(), await office.open_replay()
    assert (live.span.until, live.span.replay) == (None, None)
    assert (replay.span.until, replay.span.replay) == (2, Replaying(1, "why not"))
    assert live.span.matching.types == replay.span.matching.types == ("message",)


@hookimpl(replay="skip")
def skipping(event: Event) -> None:
    """Want to be skipped."""


@hookimpl(replay="refuse")
def refusing(event: Event) -> None:
    """Refuse replays."""


@pytest.mark.parametrize(
    ("hooks", "why"),
    [
        ({"on_message": refusing}, "the handler for message refuses replays"),
        ({"on_message": skipping}, "may have effects outside the database by now"),
        ({"on_read": on_message}, "the plugin has no handler for message any more"),
    ],
)
@in_loop
async def test_what_was_allowed_may_be_no_more(
    offices: Offices, hooks: dict[str, Any], why: str
) -> None:
    """A plugin that has changed since the replay was planned is asked again."""
    office = offices.make(subscribe(**hooks))
    with pytest.raises(Objection, match=why):
        await office.open_replay()


@in_loop
async def test_who_wants_effects_gets_them(offices: Offices) -> None:
    """A handler that replays skip by now is called where effects were asked for."""
    assert await offices.make(subscribe(on_message=skipping)).open_replay(include_effects=True)


@in_loop
async def test_who_refuses_is_called_by_no_replay(offices: Offices) -> None:
    """Not even where effects were asked for."""
    office = offices.make(subscribe(on_message=refusing))
    with pytest.raises(Objection, match="the handler for message refuses replays by now"):
        await office.open_replay(include_effects=True)
