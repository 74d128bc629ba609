"""Tests of `router.shadow`: handlers run, and what they do is told, neither sent nor kept."""

import asyncio
from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    func,
    insert,
    select,
)

from router import AsyncContext, Context, Event, Reject, Retry, hookimpl
from router.assembly import make_subscriptions
from router.errors import PluginError, SchemaError
from router.events import Replaying
from router.host import Host
from router.log import EventLog
from router.shadow import TURN, Shadow, Trial, Version, opened
from router.store import Store
from tests.entries import append, make_entry
from tests.loops import in_loop

URL = "https://crm.example/thanks"
REPLAYING = Replaying(0, "to see")

metadata = MetaData()
seen = Table(
    "crm_seen", metadata, Column("id", String(40), primary_key=True), Column("before", Integer)
)


def make_version(plugin: object, **options: object) -> Version:
    """Load a plugin, as crm."""
    vars(plugin)["plugin_name"] = "crm"
    host = Host.load(plugins=[plugin], entry_points=())
    host.require_sound()
    (subscription,) = make_subscriptions(host, {"crm": options} if options else {})
    return Version(host.plugins[0], subscription)


class Model:
    """Keeps each event's id, and how many were there before it."""

    @hookimpl
    def on_event(self, event: Event, connection: Connection) -> None:
        """Write, fail where there was a row, and end the transaction where that is wanted."""
        before = connection.scalars(select(func.count()).select_from(seen)).one()
        connection.execute(insert(seen), {"id": event.id, "before": before})
        if before:
            raise Reject("there was a row")
        if event.subtype == "bad":
            connection.exec_driver_sql("COMMIT")

    @hookimpl
    def tables(self) -> MetaData:
        """Say what it keeps."""
        return metadata


@pytest.fixture
def quiet(database: str, log: EventLog) -> Iterator[EventLog]:
    """The log once more, opened to write nothing."""
    store = Store(database, writes=False)
    yield EventLog(store)
    store.close()


async def try_all(
    plugin: object, log: EventLog, subtypes: Sequence[str], quiet: EventLog, **options: object
) -> list[Trial]:
    """Append a message of each subtype, and return what a plugin does with them in shadow."""
    append(log, *(make_entry(subtype=one) for one in subtypes))
    version = make_version(plugin, **options)
    async with opened(version, log=quiet, replaying=REPLAYING) as shadow:
        return [await shadow.handle(event) for event in quiet.read()]


@pytest.fixture
def with_table(store: Store) -> None:
    """The table that `Model` keeps."""
    metadata.drop_all(store.engine)
    metadata.create_all(store.engine)


@pytest.mark.usefixtures("with_table")
@in_loop
async def test_each_event_is_undone_before_the_next(log: EventLog, quiet: EventLog) -> None:
    """What a handler writes is neither kept nor there for the next event."""
    trials = await try_all(Model(), log, ["text"] * 3, quiet)

    assert trials == [Trial("done")] * 3
    with log.store.reading() as connection:
        assert connection.scalars(select(func.count()).select_from(seen)).one() == 0


@pytest.mark.usefixtures("with_table")
@in_loop
async def test_whoever_ends_its_transaction_has_failed_alone(
    log: EventLog, quiet: EventLog
) -> None:
    """As it would in service, and nothing is kept of it either."""
    trials = await try_all(Model(), log, ["bad", "text", "bad"], quiet)

    assert [one.outcome for one in trials] == ["failed", "done", "failed"]
    assert "the router ends this transaction" in trials[0].error
    with log.store.reading() as connection:
        assert connection.scalars(select(func.count()).select_from(seen)).one() == 0


@in_loop
async def test_a_table_that_is_missing_is_said_before(log: EventLog, quiet: EventLog) -> None:
    """Rather than as a failure of each event."""
    metadata.drop_all(log.store.engine)
    with pytest.raises(SchemaError, match="lacks the table crm_seen"):
        await try_all(Model(), log, ["text"], quiet)


class Caller:
    """Calls out in the way that the subtype says."""

    @hookimpl
    async def on_message(self, event: Event, context: AsyncContext) -> None:
        """Call as often as the subtype says."""
        for number in range(int(event.subtype)):
            await context.http.post(URL, json={"number": number})

    @hookimpl
    def on_sent(self, event: Event, context: Context) -> None:
        """Call once."""
        context.http.get(URL)


@in_loop
async def test_calls_are_those_of_their_event(log: EventLog, quiet: EventLog) -> None:
    """In their order, with what they would have sent, of plain and of async handlers."""
    append(log, make_entry(type_="sent"), make_entry(type_="read"))
    none, *others = await try_all(Caller(), log, ["2", "0", "1"], quiet)

    assert [(one.method, one.url, one.body) for one in none.calls] == [("GET", URL, b"")]
    assert others[0] == Trial("not handled")
    bodies = [[one.body for one in trial.calls] for trial in others[1:]]
    assert bodies == [[b'{"number":0}', b'{"number":1}'], [], [b'{"number":0}']]
    assert {one.outcome for one in others[1:]} == {"done"}


class Moody:
    """Ends as the subtype says."""

    @hookimpl
    async def on_message(self, event: Event) -> None:
        """End that way."""
        match event.subtype:
            case "later":
                raise Retry("not now")
            case "never":
                raise Reject("not this")
            case "slow":
                await asyncio.sleep(60)
            case "exit":
                raise SystemExit(3)
            case "replay":
                assert event.replay == REPLAYING


@in_loop
async def test_outcomes_are_those_of_service(log: EventLog, quiet: EventLog) -> None:
    """With the same limit of time; handlers are told of the replay."""
    subtypes = ["later", "never", "slow", "exit", "replay"]
    trials = await try_all(Moody(), log, subtypes, quiet, timeout="50ms")

    assert [one.outcome for one in trials] == ["retry", "rejected", "timed out", "failed", "done"]
    assert trials[0].error == "not now"


@in_loop
async def test_the_log_takes_nothing_from_a_handler(log: EventLog, quiet: EventLog) -> None:
    """One that would append to the log has failed, and the log is as it was."""

    class Appending:
        @hookimpl
        def on_message(self, event: Event, context: Context) -> None:
            append(context.log, make_entry())

    (trial,) = await try_all(Appending(), log, ["text"], quiet)

    assert trial.error == "StoreError: this log was opened to be read: nothing is written to it"
    assert log.head() == 1


@in_loop
async def test_a_plugin_is_started_and_stopped(log: EventLog, quiet: EventLog) -> None:
    """Its handlers may need what `on_start` makes ready."""
    told: list[str] = []

    class Ready:
        @hookimpl
        def on_start(self) -> None:
            told.append("start")

        @hookimpl
        def on_message(self, event: Event) -> None:
            told.append(event.type)

        @hookimpl
        def on_stop(self) -> None:
            told.append("stop")

    await try_all(Ready(), log, ["text"], quiet)

    assert told == ["start", "message", "stop"]


@pytest.mark.engines("sqlite")
@pytest.mark.usefixtures("with_table")
@in_loop
async def test_others_get_their_turn_at_the_database(log: EventLog, quiet: EventLog) -> None:
    """When transactions have taken so much time, they rest for as long as they took."""
    append(log, make_entry(), make_entry(), make_entry())
    ticks = iter([0.0, 0.6 * TURN, 0.6 * TURN, 1.2 * TURN, 2.2 * TURN, 2.3 * TURN])
    rests: list[float] = []

    async def rest(seconds: float) -> None:
        rests.append(seconds)

    shadow = Shadow(
        make_version(Model()),
        log=quiet,
        replaying=REPLAYING,
        sleep=rest,
        monotonic=lambda: next(ticks),
    )
    for event in quiet.read():
        await shadow.handle(event)
    await shadow.close()

    assert rests == [pytest.approx(1.2 * TURN)]


@pytest.mark.engines("sqlite")
@pytest.mark.usefixtures("with_table")
@in_loop
async def test_an_append_waits_for_one_call_at_most(log: EventLog, quiet: EventLog) -> None:
    """Between two events the database is free to be written to."""
    append(log, make_entry(), make_entry())
    async with opened(make_version(Model()), log=quiet, replaying=REPLAYING) as shadow:
        for event in quiet.read():
            await shadow.handle(event)
            append(log, make_entry())

    assert log.head() > 2


def test_whoever_says_nothing_is_refused() -> None:
    """The refusal says what to declare, and where."""
    with pytest.raises(PluginError, match=r"subscription_options\(\) return \{\"calls_out\""):
        make_version(Caller()).require_declared()


def test_whoever_declares_it_is_taken() -> None:
    """In code, or by the operator who knows it."""

    class Declared(Caller):
        @hookimpl
        def subscription_options(self) -> dict[str, object]:
            return {"calls_out": "context.http"}

    make_version(Declared()).require_declared()
    make_version(Caller(), calls_out="context.http").require_declared()
