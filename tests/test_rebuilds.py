"""Tests of `router.rebuilds`: tables are filled anew, and switched to while nobody notices."""

import asyncio
import json
from collections.abc import Mapping

import msgspec
import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text, inspect, select

from router import plugin_tables
from router.control import Control
from router.dead import DeadLetters
from router.errors import RouterError
from router.events import Event
from router.filters import DeadFilter
from router.hookspecs import ReplayPolicy, hookimpl
from router.log import EventLog
from router.options import Options, RetryOptions
from router.rebuilds import find_rebuild_objection, plan_rebuild
from router.replay import Replays
from router.replay_plan import Refused
from router.replay_record import Replay
from router.retry import Reject
from router.subscriptions import Subscription
from tests.dispatching import dispatching
from tests.entries import append_messages
from tests.loops import in_loop
from tests.records import read_checkpoint, read_lanes, read_parked
from tests.subscribers import make_subscription
from tests.waiting import until

METADATA = MetaData()
MODEL = Table(
    "model",
    METADATA,
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("text", Text, index=True),
)
ONCE = RetryOptions(first=0, attempts=1)
MOST = 1_000  # events that come while a rebuild is under way


class Model:
    """A plugin that keeps a row an event, in the words of its version.

    Attributes:
        word: What it writes.
        failing: The positions that it refuses.
    """

    def __init__(self, word: str) -> None:
        self.word = word
        self.failing: set[int] = set()

    def subscribe(self, *, lanes: int = 1) -> Subscription:
        """Return its subscription."""

        @hookimpl
        def on_event(event: Event, connection: Connection) -> None:
            if event.position in self.failing:
                raise Reject("not this one")
            values = {"position": event.position, "text": self.word}
            connection.execute(MODEL.insert().values(values))

        options = Options(start="beginning", lanes=lanes, retry=ONCE)
        made = make_subscription("crm", options, on_event=on_event)
        return msgspec.structs.replace(made, tables=METADATA)


@pytest.fixture
def model(log: EventLog) -> Model:
    """A plugin whose table is there."""
    plugin_tables.create(log.store.engine, {"model": METADATA})
    return Model("old")


def rebuild(log: EventLog) -> int:
    """Start a rebuild and return its id."""
    replays = Replays(log)
    plan = replays.plan("crm", include_effects=True)
    return replays.start(plan, reason="", by="ana", rebuilds=["model"]).id


async def until_state(log: EventLog, number: int, state: str) -> Replay:
    """Wait until a replay is in that state, and return it."""
    replays = Replays(log)
    await until(lambda: replays.find(number).state == state)
    return replays.find(number)


def read(log: EventLog) -> Mapping[int, str]:
    """What the table holds."""
    with log.store.reading() as connection:
        rows = connection.execute(select(MODEL).order_by(MODEL.c.position))
        return {row.position: row.text for row in rows}


def tables(log: EventLog) -> list[str]:
    """The names of the tables that have to do with the plugin."""
    with log.store.reading() as connection:
        names = inspect(connection).get_table_names()
    return sorted(name for name in names if name.startswith("model"))


@in_loop
@pytest.mark.parametrize("lanes", [1, 3])
async def test_the_new_tables_take_the_place_of_the_old(
    log: EventLog, model: Model, lanes: int
) -> None:
    """All of history is in them in new words; what comes later is added to them, live."""
    append_messages(log, ["ana", "ben", "cem"] * 10)
    async with dispatching(log, model.subscribe(lanes=lanes)) as dispatcher:
        await until(lambda: len(read(log)) == 30)
        model.word = "new"
        done = await until_state(log, rebuild(log), "done")
        assert read(log) == dict.fromkeys(range(1, 31), "new")
        await until(lambda: tables(log) == ["model"])
        append_messages(log, ["ana"])
        dispatcher.wake()
        await until(lambda: 31 in read(log))
    assert (done.done, done.failed, done.total) == (30, 0, 30)
    assert read_checkpoint(log.store) == 31
    assert read_lanes(log.store, run=done.id) == []
    with log.store.reading() as connection:
        audit = connection.execute(select(log.store.tables.audit)).all()[-1]
    assert (audit.action, audit.target) == ("rebuild switch", "replay 1 of crm")
    assert list(json.loads(audit.detail)) == ["checkpoint", "dropped", "halted_ms"]


@in_loop
async def test_what_comes_meanwhile_is_in_both(log: EventLog, model: Model) -> None:
    """Until the switch the old tables are kept up to date, and the new ones have all of it once."""
    append_messages(log, ["ana"] * 20)
    async with dispatching(log, model.subscribe()) as dispatcher:
        await until(lambda: len(read(log)) == 20)
        number = rebuild(log)
        seen: set[int] = set()
        while Replays(log).find(number).state != "done":
            if log.head() < MOST:  # on a busy machine more might come than can be handled
                append_messages(log, ["ben", "ana"])
                dispatcher.wake()
            rows = read(log)
            assert list(rows) == list(range(1, len(rows) + 1))
            assert seen <= rows.keys()
            seen = set(rows)
            await asyncio.sleep(0.005)
        head = log.head()
        await until(lambda: len(read(log)) == head)
    assert list(read(log)) == list(range(1, head + 1))


@in_loop
async def test_events_that_fail_keep_the_old_tables(log: EventLog, model: Model) -> None:
    """The rebuild is paused and says what to do; once they are discarded it comes to its end."""
    append_messages(log, ["ana", "ben", "cem"])
    async with dispatching(log, model.subscribe()):
        await until(lambda: len(read(log)) == 3)
        model.word, model.failing = "new", {2}
        number = rebuild(log)
        paused = await until_state(log, number, "paused")
        assert "1 event failed, and the old tables stay" in str(paused.last_error)
        assert read(log) == dict.fromkeys((1, 2, 3), "old")
        DeadLetters(log.store).discard(DeadFilter(run=number), actor="ana")
        Replays(log).resume(number, actor="ana")
        done = await until_state(log, number, "done")
        assert read(log) == dict.fromkeys((1, 3), "new")
    assert done.last_error is None


@in_loop
async def test_what_failed_in_the_old_tables_is_settled_by_the_new(
    log: EventLog, model: Model
) -> None:
    """A dead letter of live delivery is gone where the new version has handled its event."""
    append_messages(log, ["ana", "ben"])
    model.failing = {1}
    async with dispatching(log, model.subscribe()):
        await until(lambda: list(read_parked(log.store)) == [1])
        await until(lambda: list(read(log)) == [2])
        model.failing = set()
        await until_state(log, rebuild(log), "done")
        assert list(read(log)) == [1, 2]
    assert read_parked(log.store) == {}


@in_loop
async def test_a_cancelled_rebuild_leaves_nothing(log: EventLog, model: Model) -> None:
    """The old tables stay as they are, and the new ones go."""
    append_messages(log, ["ana", "ben"])
    async with dispatching(log, model.subscribe()):
        await until(lambda: len(read(log)) == 2)
        model.word, model.failing = "new", {1}
        number = rebuild(log)
        await until_state(log, number, "paused")
        Replays(log).cancel(number, actor="ana")
        await until(lambda: tables(log) == ["model"])
    assert read(log) == {1: "old", 2: "old"}
    assert read_lanes(log.store, run=number) == []


@in_loop
async def test_a_paused_subscription_is_not_switched(log: EventLog, model: Model) -> None:
    """While it is paused nothing of it goes on, the rebuild neither."""
    append_messages(log, ["ana"])
    control = Control(log.store)
    async with dispatching(log, model.subscribe()):
        await until(lambda: len(read(log)) == 1)
        control.pause("crm", actor="ana")
        await until(lambda: control.is_at_rest("crm"))
        model.word = "new"
        number = rebuild(log)
        await asyncio.sleep(0.1)
        assert read(log) == {1: "old"}
        control.resume("crm", actor="ana")
        await until_state(log, number, "done")
    assert read(log) == {1: "new"}


@in_loop
async def test_one_rebuild_at_a_time(log: EventLog, model: Model) -> None:
    """A second one is refused, with what can be done."""
    append_messages(log, ["ana"])
    async with dispatching(log, model.subscribe()):
        await until(lambda: len(read(log)) == 1)
    number = rebuild(log)
    with pytest.raises(Refused, match=f"being rebuilt already: wait for replay {number}"):
        rebuild(log)


@in_loop
async def test_types_that_were_added_end_a_rebuild(log: EventLog, model: Model) -> None:
    """It was planned for what the plugin handled then: the new tables would lack the rest."""
    append_messages(log, ["ana"])
    async with dispatching(log, model.subscribe()):
        await until(lambda: len(read(log)) == 1)
    replays = Replays(log)
    older: Mapping[str, ReplayPolicy] = {"message": "allow"}
    plan = replays.plan("crm", include_effects=True, policies=older)
    number = replays.start(plan, reason="", by="", rebuilds=["model"]).id
    async with dispatching(log, model.subscribe()):
        failed = await until_state(log, number, "failed")
    assert "handles other types by now" in str(failed.last_error)


@in_loop
async def test_an_old_table_that_is_gone_keeps_no_rebuild_from_ending(
    log: EventLog, model: Model
) -> None:
    """Live delivery fails without it; the rebuild brings it back."""
    append_messages(log, ["ana", "ben"])
    async with dispatching(log, model.subscribe()):
        await until(lambda: len(read(log)) == 2)
        with log.store.writing() as connection:
            connection.exec_driver_sql("DROP TABLE model")
        await until_state(log, rebuild(log), "done")
        assert list(read(log)) == [1, 2]


@in_loop
async def test_what_hinders_a_switch_is_said_and_tried_again(
    log: EventLog, model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Live delivery goes on meanwhile, and the reason is on record."""
    append_messages(log, ["ana", "ben"])
    monkeypatch.setattr("router.rebuilds.REST", 0.01)

    def fail(*_: object) -> None:
        raise ValueError("out of order")

    async with dispatching(log, model.subscribe()) as dispatcher:
        await until(lambda: len(read(log)) == 2)
        with monkeypatch.context() as broken:
            broken.setattr("router.fresh_tables.put_in_place", fail)
            number = rebuild(log)
            await until(lambda: Replays(log).find(number).last_error is not None)
            append_messages(log, ["ana"])
            dispatcher.wake()
            await until(lambda: len(read(log)) == 3)
        done = await until_state(log, number, "done")
        assert list(read(log)) == [1, 2, 3]
    assert done.last_error is None


def test_a_pruned_log_is_not_rebuilt_from_unasked(log: EventLog, model: Model) -> None:
    """What the tables know of the events that are gone would be lost."""
    append_messages(log, ["ana", "ben"])
    event = log.store.tables.event
    with log.store.writing() as connection:
        connection.execute(event.delete().where(event.c.position == 1))
    with pytest.raises(RouterError, match="begins at position 2, since it was pruned"):
        plan_rebuild(Replays(log), model.subscribe(), is_partial=False)
    assert plan_rebuild(Replays(log), model.subscribe(), is_partial=True).total == 1


@in_loop
async def test_a_plugin_that_has_changed_ends_its_rebuild(log: EventLog, model: Model) -> None:
    """Where it keeps other tables by now, the rebuild fails and says so; the old ones stay."""
    append_messages(log, ["ana"])
    async with dispatching(log, model.subscribe()):
        await until(lambda: len(read(log)) == 1)
    number = rebuild(log)
    other = MetaData()
    Table("other", other, Column("id", Integer, primary_key=True))
    changed = msgspec.structs.replace(model.subscribe(), tables=other)
    async with dispatching(log, changed):
        failed = await until_state(log, number, "failed")
        await until(lambda: read_lanes(log.store, run=number) == [])
    assert "keeps other tables by now" in str(failed.last_error)
    assert read(log) == {1: "old"}


def test_only_what_the_router_settles_can_be_rebuilt(model: Model) -> None:
    """A plugin that writes elsewhere, or keeps no tables, is refused with the reason."""
    plain = make_subscription("plain", on_event=hookimpl(lambda event: None))
    assert "handlers name `connection`" in str(find_rebuild_objection(plain, ("model",)))
    without = msgspec.structs.replace(model.subscribe(), tables=None)
    assert "keeps no tables" in str(find_rebuild_objection(without, ()))
    assert find_rebuild_objection(model.subscribe(), ("model",)) is None


def test_a_handler_that_refuses_is_not_rebuilt(model: Model) -> None:
    """`replay = "refuse"` holds for rebuilds, too."""

    @hookimpl(replay="refuse")
    def on_message(connection: Connection) -> None:
        """Handle nothing."""

    refusing = msgspec.structs.replace(
        make_subscription("crm", on_message=on_message), tables=METADATA
    )
    why = "its handlers for message refuse replays"
    assert find_rebuild_objection(refusing, ("model",)) == why
