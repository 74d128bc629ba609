"""Tests of `router.replay_handle`: a replay that was started is watched and steered from code."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from sqlalchemy import select

from router import Router
from router.errors import RouterError, UnknownName
from router.events import Event
from router.filters import Filter
from router.hookspecs import hookimpl
from router.log import EventLog
from router.replay_plan import Refused
from router.store import Store
from tests.entries import append, append_messages, make_entry
from tests.loops import in_loop
from tests.records import read_lanes
from tests.waiting import until


class Crm:
    """A plugin that may be replayed for messages, and waits in each call where it is told to.

    Attributes:
        door: Open where calls may go on.
        called: Positions of the events, as their calls began.
    """

    plugin_name = "crm"

    def __init__(self) -> None:
        self.door = asyncio.Event()
        self.door.set()
        self.called: list[int] = []

    @hookimpl(replay="allow")
    async def on_message(self, event: Event) -> None:
        """Note the event."""
        self.called.append(event.position)
        await self.door.wait()

    @hookimpl(replay="skip")
    async def on_sent(self, event: Event) -> None:
        """Note the event."""
        self.called.append(event.position)


@pytest.fixture
def crm() -> Crm:
    """The plugin."""
    return Crm()


@pytest.fixture
def router(
    database: str, log: EventLog, crm: Crm, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Router]:
    """A router with that plugin, which has never run, and a log of three messages and a sent."""
    monkeypatch.setattr("router.dispatcher.LOOK", 0.01)
    monkeypatch.setattr("router.replay_handle.POLL", 0.01)
    append_messages(log, ["ana", "ben", "ana"])
    append(log, make_entry("ana", "sent"))
    router = Router(database, plugins=[crm])
    yield router
    router.log.store.close()


def read_audit(store: Store) -> list[tuple[str, str, str]]:
    """Return who did what to replays, and why."""
    table = store.tables.audit.c
    query = select(table.actor, table.action, table.detail).order_by(table.id)
    with store.reading() as connection:
        rows = connection.execute(query).all()
    return [(row[0], row[1], json.loads(row[2])["reason"]) for row in rows]


@in_loop
async def test_a_replay_is_started_and_waited_for(router: Router, crm: Crm) -> None:
    """A plugin that has never run may be given history before it begins; then it is done."""
    handle = await router.replay("crm", reason="a new plugin", actor="ana")
    assert (handle.id, handle.total) == (1, 3)
    planned = await handle.progress()
    assert (planned.state, planned.reason, planned.created_by) == ("planned", "a new plugin", "ana")
    assert read_lanes(router.log.store) == []  # it is born when a worker runs it
    async with router:
        result = await handle.result()
    assert (result.state, result.done, result.failed) == ("done", 3, 0)
    assert result.by_type == {"message": {"done": 3}, "sent": {"skipped": 1}}
    assert sorted(crm.called) == [1, 2, 3]


@in_loop
async def test_how_it_goes_is_said_at_the_start(router: Router, crm: Crm) -> None:
    """Which events, how fast, and whether effects are wanted."""
    async with router:
        handle = await router.replay(
            "crm",
            first=2,
            end=5,
            matching=Filter(subjects=(":ana",)),
            rate=1_000,
            concurrency=2,
            include_effects=True,
        )
        result = await handle.result()
    assert (result.first, result.end, result.total, result.done) == (2, 5, 2, 2)
    assert (result.rate, result.concurrency, result.include_effects) == (1_000, 2, True)
    assert crm.called == [3, 4]


@in_loop
async def test_a_replay_is_steered(router: Router, crm: Crm) -> None:
    """Paused, resumed and cancelled, in the name of who started it."""
    store = router.log.store
    handle = await router.replay("crm", reason="why not", actor="ana")
    assert await handle.pause(reason="too loud")
    assert not await handle.pause()
    assert (await handle.progress()).state == "paused"
    assert await handle.resume(reason="at night")
    crm.door.clear()
    async with router:
        await until(lambda: len(crm.called) == 2)
        await handle.cancel(reason="not needed")
        crm.door.set()
        result = await handle.result()
    assert result.state == "cancelled"
    assert read_audit(store) == [
        ("ana", "replay start", "why not"),
        ("ana", "replay pause", "too loud"),
        ("ana", "replay resume", "at night"),
        ("ana", "replay cancel", "not needed"),
    ]
    with pytest.raises(RouterError, match="replay 1 is cancelled: there is nothing to pause"):
        await handle.pause()


@in_loop
async def test_a_replay_goes_on_without_its_handle(router: Router) -> None:
    """Whoever knows its id finds it again."""
    number = (await router.replay("crm")).id
    assert router.replays.find(number).state == "planned"
    assert [one.id for one in router.replays.list(limit=9)] == [number]


@in_loop
async def test_what_must_not_be_replayed_is_refused(router: Router) -> None:
    """Where all would be skipped, and to a plugin that there is not."""
    with pytest.raises(Refused, match="all 1 matching events would be skipped"):
        await router.replay("crm", matching=Filter(types=("sent",)))
    with pytest.raises(UnknownName, match="there is no subscription 'crn'"):
        await router.replay("crn")
    assert router.replays.list(limit=9) == []


@in_loop
async def test_an_option_that_does_not_exist_is_an_error(router: Router) -> None:
    """What was meant to narrow a replay down must not widen it."""
    with pytest.raises(TypeError, match="a replay has no option frist"):
        await router.replay("crm", frist=3)  # type: ignore[call-arg]
    assert router.replays.list(limit=1) == []


@in_loop
@pytest.mark.parametrize(
    ("rate", "concurrency"), [(0, None), (-1, None), (float("nan"), None), (None, 0)]
)
async def test_limits_are_more_than_nothing(
    router: Router, rate: float | None, concurrency: int | None
) -> None:
    """A replay that could never end is not started."""
    with pytest.raises(RouterError, match="a replay "):
        await router.replay("crm", rate=rate, concurrency=concurrency)
    assert router.replays.list(limit=1) == []


@in_loop
async def test_what_keeps_no_tables_is_not_rebuilt(router: Router) -> None:
    """The reason is said, and so is which plugins there are not."""
    with pytest.raises(RouterError, match="'crm' cannot be rebuilt: only a plugin whose handlers"):
        await router.rebuild("crm")
    with pytest.raises(UnknownName, match="no plugin 'crn'"):
        await router.rebuild("crn")
