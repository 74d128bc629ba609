"""Tests of the harness: what it does with plugins, notifications and time."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, Table, func, insert, select

from router import Context, Event, Filter, Reject, Retry, hookimpl
from router.errors import ConfigError, PluginError, RouterError
from router.plugins.whatsapp import WhatsApp
from router.replay_plan import Refused
from router.testing.harness import Harness
from tests.loops import in_loop
from tests.posting import StubSource
from tests.samples import as_body, onprem_mixed, onprem_text, text_message

HOUR = 3600.0


class Crm:
    """A plugin whose calls fail as often as the test says.

    Attributes:
        seen: The calls: external id and attempt.
        failures: What the next calls raise.
        notes: Other hooks that were called.
    """

    plugin_name = "crm"

    def __init__(self, *failures: Exception) -> None:
        self.seen: list[tuple[str | None, int]] = []
        self.failures = list(failures)
        self.notes: list[str] = []

    @hookimpl
    def on_start(self) -> None:
        """Note it."""
        self.notes.append("start")

    @hookimpl
    def on_stop(self) -> None:
        """Note it."""
        self.notes.append("stop")

    @hookimpl
    async def on_message(self, event: Event, context: Context) -> None:
        """Note the call, and fail."""
        self.seen.append((event.external_id, context.attempt))
        if self.failures:
            raise self.failures.pop(0)

    @hookimpl
    def on_dead(self, event: Event, error: str) -> None:
        """Note it."""
        self.notes.append(f"dead {event.external_id}: {error}")


def messages(*numbers: int) -> bytes:
    """Return a notification of messages of one subject."""
    return as_body({"messages": [text_message(number) for number in numbers]})


@in_loop
async def test_what_is_received_is_delivered_when_drained(harness: Harness) -> None:
    """A notification goes through HTTP into the log, and waits there until the test drains."""
    crm = Crm()
    assert harness.use(crm) == "crm"
    events = await harness.receive(messages(1))
    assert [(event.position, event.external_id) for event in events] == [(1, "wamid.IN1")]
    assert (crm.seen, harness.deliveries().outcomes) == ([], ["waiting"])
    await harness.drain()
    assert crm.seen == [("wamid.IN1", 1)]
    assert harness.deliveries("crm").outcomes == ["done"]
    assert crm.notes == ["start", "stop"]


@in_loop
async def test_a_redelivery_is_no_new_event(harness: Harness) -> None:
    """What the log knows already is answered 200 and gives nothing new."""
    harness.use(Crm())
    assert len(await harness.receive(messages(1, 2))) == 2
    assert await harness.receive(messages(2, 1)) == []


@in_loop
async def test_a_failed_delivery_is_parked_until_the_clock_is_moved(harness: Harness) -> None:
    """It is tried again when its time has come and not before; its subject waits behind it."""
    crm = Crm(ValueError("busy"), ValueError("busy still"))
    harness.use(crm, options={"retry": {"first": "5s", "factor": 2}})
    await harness.receive(messages(1, 2))
    await harness.drain()
    parked, blocked = harness.deliveries()
    assert (parked.outcome, parked.attempts, parked.error) == ("parked", 1, "ValueError: busy")
    assert (blocked.outcome, blocked.attempts, blocked.error) == ("blocked", 0, None)
    assert parked.next_at is not None
    assert 4.9 < (parked.next_at - harness.clock.now).total_seconds() < 5
    harness.clock.advance(4)
    await harness.drain()
    assert len(crm.seen) == 1
    harness.clock.advance(1)
    await harness.drain()
    assert [one.attempts for one in harness.deliveries().parked] == [2]
    harness.clock.advance(10)
    await harness.drain()
    assert harness.deliveries().outcomes == ["done", "done"]
    assert [one.attempts for one in harness.deliveries()] == [3, 1]
    assert crm.seen == [("wamid.IN1", n) for n in (1, 2, 3)] + [("wamid.IN2", 1)]


@in_loop
async def test_what_is_given_up_is_dead(harness: Harness) -> None:
    """A delivery that is rejected is dead, the plugin is told, and its subject goes on."""
    crm = Crm(Reject("nobody's"))
    harness.use(crm)
    await harness.receive(messages(1, 2))
    await harness.drain()
    assert harness.deliveries().outcomes == ["dead", "done"]
    assert [one.event.external_id for one in harness.deliveries().dead] == ["wamid.IN1"]
    assert [note for note in crm.notes if "dead" in note] == ["dead wamid.IN1: nobody's"]


@in_loop
async def test_time_that_is_skipped_counts_towards_giving_up(harness: Harness) -> None:
    """After `give_up_after` by the test's clock the next failure is the last one."""
    harness.use(Crm(*[ValueError("busy")] * 9), options={"retry": {"give_up_after": "2h"}})
    await harness.receive(messages(1))
    await harness.drain()
    harness.clock.advance(1.9 * HOUR)
    await harness.drain()
    assert harness.deliveries().outcomes == ["parked"]
    harness.clock.advance(HOUR)
    await harness.drain()
    assert harness.deliveries().outcomes == ["dead"]
    assert harness.deliveries()[0].attempts == 3


@in_loop
async def test_a_retry_that_is_due_at_once_is_made_in_the_same_drain(harness: Harness) -> None:
    """A drain goes on until nothing is due at the present time."""
    crm = Crm(Retry(after=0), Retry(after=0))
    harness.use(crm)
    await harness.receive(messages(1))
    await harness.drain()
    assert crm.seen == [("wamid.IN1", 1), ("wamid.IN1", 2), ("wamid.IN1", 3)]


@in_loop
async def test_a_dead_letter_can_be_redriven(harness: Harness) -> None:
    """What operators do is there by way of the router, and the next drain carries it out."""
    harness.use(Crm(Reject("not now")))
    await harness.receive(messages(1))
    await harness.drain()
    await asyncio.to_thread(harness.router.dead_letters.redrive, actor="test")
    await harness.drain()
    assert harness.deliveries().outcomes == ["done"]


@in_loop
async def test_an_outage_of_everything_is_drained(harness: Harness) -> None:
    """While nearly every call fails the breaker is open; a drain ends all the same, and so on."""
    crm = Crm(*[ValueError("down")] * 25)
    harness.use(crm)
    everybody = [text_message(n, **{"from": f"52155000{n:05}"}) for n in range(40)]
    await harness.receive(as_body({"messages": everybody}))
    await harness.drain()
    assert len(harness.deliveries().parked) >= 20
    for _ in range(8):
        harness.clock.advance(HOUR)
        await harness.drain()
    assert set(harness.deliveries().outcomes) == {"done"}


@in_loop
async def test_history_is_replayed(harness: Harness) -> None:
    """A replay calls the handlers again, apart from live delivery, if they allow it."""
    crm = Crm()
    harness.use(crm)
    await harness.receive(messages(1, 2))
    await harness.drain()
    with pytest.raises(Refused):
        await harness.replay()
    ended = await harness.replay("crm", include_effects=True, matching=Filter(types=("message",)))
    assert (ended.state, ended.done) == ("done", 2)
    assert [one for one, _ in crm.seen] == ["wamid.IN1", "wamid.IN2"] * 2
    assert harness.deliveries(replay=ended.id).outcomes == ["done", "done"]
    assert [one.attempts for one in harness.deliveries()] == [1, 1]


@in_loop
async def test_a_replay_that_failed_goes_on_when_the_clock_is_moved(harness: Harness) -> None:
    """Its retries wait for the clock as live ones do."""
    crm = Crm()
    harness.use(crm)
    await harness.receive(messages(1))
    await harness.drain()
    crm.failures = [ValueError("busy")]
    waiting = await harness.replay(include_effects=True)
    assert (waiting.state, waiting.retrying) == ("running", 1)
    assert harness.deliveries(replay=waiting.id).outcomes == ["parked"]
    harness.clock.advance(5)
    await harness.drain()
    assert harness.deliveries(replay=waiting.id).outcomes == ["done"]


class Counter:
    """A transactional plugin: it counts messages in a table of its own."""

    plugin_name = "counter"

    def __init__(self) -> None:
        self.counted = Table("counter_count", MetaData(), Column("position", Integer))

    @hookimpl
    def tables(self) -> MetaData:
        """Keep one table."""
        return self.counted.metadata

    @hookimpl
    def on_message(self, event: Event, connection: Connection) -> None:
        """Count."""
        connection.execute(insert(self.counted).values(position=event.position))

    def count(self, harness: Harness) -> int:
        """Return how many were counted."""
        with harness.log.store.reading() as connection:
            return connection.scalars(select(func.count()).select_from(self.counted)).one()


@in_loop
async def test_tables_of_plugins_are_made_and_filled(harness: Harness) -> None:
    """A plugin that keeps tables finds them, and the test reads them."""
    counter = Counter()
    harness.use(counter)
    await harness.receive(messages(1, 2, 3))
    await harness.drain()
    assert counter.count(harness) == 3


@in_loop
async def test_a_table_is_rebuilt(harness: Harness) -> None:
    """A drain sees a rebuild through to its switch."""
    counter = Counter()
    harness.use(counter)
    await harness.receive(messages(1, 2, 3))
    await harness.drain()
    handle = await harness.router.rebuild("counter")
    await harness.drain()
    assert (await handle.progress()).state == "done"
    assert counter.count(harness) == 3


@in_loop
async def test_a_snapshot_brings_back_what_was(harness: Harness) -> None:
    """After a restore the database knows nothing of what came later, and delivers it again."""
    crm, counter = Crm(), Counter()
    harness.use(crm)
    harness.use(counter)
    await harness.receive(messages(1, 2))
    before = harness.snapshot()
    await harness.drain()
    assert counter.count(harness) == 2
    harness.restore(before)
    assert counter.count(harness) == 0
    await harness.drain()
    assert counter.count(harness) == 2
    assert len(crm.seen) == 4


@in_loop
async def test_nothing_is_open_after_the_end(harness: Harness) -> None:
    """A harness that was closed has let go of its file, whatever the test has looked at."""
    harness.use(Crm())
    await harness.receive(messages(1))
    await asyncio.to_thread(harness.router.control.pause, "crm", actor="test")
    assert harness.deliveries().outcomes == ["waiting"]
    harness.close()
    engines = [log.store.engine for log in (harness.log, harness.router.log)]
    assert [engine.pool.checkedin() for engine in engines] == [0, 0]  # type: ignore[attr-defined]


@in_loop
async def test_a_plugin_sees_nothing_from_before_it_is_used(harness: Harness) -> None:
    """A subscription is born where the log ends when the test takes its plugin up."""
    first, second, third = Crm(), Crm(), Crm()
    harness.use(first)
    await harness.receive(messages(1))
    harness.use(second, name="second")
    harness.use(third, name="third", options={"start": "beginning"})
    await harness.receive(messages(2))
    await harness.drain()
    assert [len(crm.seen) for crm in (first, second, third)] == [2, 1, 2]
    with pytest.raises(RouterError, match=r"which plugin is meant.*crm, second, third"):
        harness.deliveries()
    with pytest.raises(RouterError, match="'secnd' is unknown: did you mean second"):
        harness.deliveries("secnd")


def test_plain_tests_carry_out_coroutines(harness: Harness) -> None:
    """A test that is no coroutine needs nothing but `run`."""
    crm = Crm()
    harness.use(crm)
    assert len(harness.run(harness.receive(messages(1)))) == 1
    harness.run(harness.drain())
    assert crm.seen == [("wamid.IN1", 1)]


@in_loop
async def test_a_file_is_used_with_its_settings(harness: Harness, tmp_path: Path) -> None:
    """The path of a single file is a plugin, called by its stem; settings are checked and given."""
    path = tmp_path / "greeter.py"
    path.write_text(
        "import dataclasses\n"
        "from router import hookimpl\n"
        "@dataclasses.dataclass\n"
        "class Settings:\n    greeting: str\n"
        "told = []\n"
        "@hookimpl\ndef settings(): return Settings\n"
        "@hookimpl\ndef on_start(settings): told.append(settings.greeting)\n"
        "@hookimpl\ndef on_message(event): told.append(event.subtype)\n"
    )
    with pytest.raises(PluginError, match="greeting"):
        harness.use(path)
    assert harness.use(str(path), settings={"greeting": "Hello"}) == "greeter"
    await harness.receive(onprem_text())
    await harness.drain()
    assert harness.deliveries("greeter").outcomes == ["done"]


def test_wrong_plugins_are_refused_where_they_are_used(harness: Harness) -> None:
    """A misspelt hook, an unknown option, or a second plugin of one name is an error at once."""

    class Misspelt:
        @hookimpl
        def on_messgae(self, event: Event) -> None:
            """Never be called."""

    with pytest.raises(PluginError, match="on_message"):
        harness.use(Misspelt())
    with pytest.raises(ConfigError, match="timeuot"):
        harness.use(Crm(), options={"timeuot": "1s"})
    with pytest.raises(RouterError, match=r"call harness\.use"):
        harness.run(harness.drain())
    harness.use(Crm())
    with pytest.raises(RouterError, match="'crm' is used already"):
        harness.use(Crm())
    harness.use(Crm(), name="other")


@in_loop
async def test_the_wrong_answer_is_an_error(harness: Harness) -> None:
    """What is not answered as the test expects fails it, with the answer."""
    harness.use(Crm())
    with pytest.raises(AssertionError, match=r"answered 400, not 200: .*JSON"):
        await harness.receive("nonsense")
    assert await harness.receive("nonsense", status=400) == []
    forged: Mapping[str, str] = {"x-hub-signature-256": "sha256=00"}
    assert await harness.receive(messages(1), headers=forged, status=401) == []
    assert harness.log.head() == 0


@in_loop
async def test_sources_of_the_test_receive(harness: Harness) -> None:
    """The first source given takes the place of WhatsApp; others are named; each signs its way."""
    harness.use(Crm())
    harness.use_source(WhatsApp("op", verification="path", secrets=["key"], channel="+52"))
    harness.use_source(StubSource("stub"))
    (first, *_) = await harness.receive(onprem_mixed())
    (second,) = await harness.receive(b"anything", source="stub")
    assert (first.source, first.channel, second.source) == ("op", "+52", "stub")
    with pytest.raises(RouterError, match="'stab' is unknown: did you mean stub"):
        await harness.receive(b"anything", source="stab")


@in_loop
async def test_notifications_are_received_by_the_clock(harness: Harness) -> None:
    """Their time of receipt, and what handlers are told, is that of the test's clock."""
    harness.use(Crm())
    harness.clock.advance(90)
    (event,) = await harness.receive(messages(1))
    assert event.received_at == harness.clock.now


@in_loop
async def test_a_drain_that_does_not_end_says_so(harness: Harness) -> None:
    """A handler that waits for what never comes fails the test, not the machine's patience."""

    class Stuck:
        @hookimpl
        async def on_message(self, event: Event) -> None:
            await asyncio.sleep(0.5)

    harness.use(Stuck())
    await harness.receive(messages(1))
    with pytest.raises(AssertionError, match="is still at work"):
        await harness.drain(seconds=0.05)


@in_loop
async def test_paused_subscriptions_are_left_alone(harness: Harness) -> None:
    """What an operator has paused is not delivered, and does not keep a drain from ending."""
    crm = Crm()
    harness.use(crm)
    await harness.receive(messages(1))
    await asyncio.to_thread(harness.router.control.pause, "crm", actor="test")
    await harness.drain()
    assert harness.deliveries().outcomes == ["waiting"]
    await asyncio.to_thread(harness.router.control.resume, "crm", actor="test")
    await harness.drain()
    assert harness.deliveries().outcomes == ["done"]
