"""Tests of the checks for plugins: sound ones pass, and each kind of bad one is told why not."""

from collections.abc import Callable

import pytest
from sqlalchemy import Column, Connection, Integer, MetaData, String, Table, insert, select, update

from router import Event, hookimpl
from router.testing import notifications
from router.testing.conformance import PluginKit
from router.testing.harness import Harness
from tests.loops import in_loop

MakeHarness = Callable[[], Harness]


class Mailer:
    """A plugin that calls a service out there, once for each event.

    Attributes:
        sent: What the service was told.
    """

    def __init__(self, *, is_idempotent: bool = True) -> None:
        self.sent: list[str] = []
        self._is_idempotent = is_idempotent

    @hookimpl
    async def on_event(self, event: Event) -> None:
        """Send, unless the service knows the key."""
        key = f"{event.type} {event.external_id} {event.subtype}"
        if not (self._is_idempotent and key in self.sent):
            self.sent.append(key)


def read_sent(mailer: Mailer, _harness: Harness) -> object:
    """Return what was sent, in whatever order."""
    return sorted(mailer.sent)


class Board:
    """A transactional plugin: it counts events by subject, in a table of its own.

    Args:
        is_derived: Whether it keeps what it has counted, and so counts nothing twice.
    """

    def __init__(self, *, is_derived: bool) -> None:
        self._is_derived = is_derived
        metadata = MetaData()
        self.counts = Table(
            "board_count",
            metadata,
            Column("subject", String(200), primary_key=True),
            Column("position", Integer, primary_key=True),
            Column("count", Integer),
        )

    @hookimpl
    def tables(self) -> MetaData:
        """Keep one table."""
        return self.counts.metadata

    @hookimpl
    def on_event(self, event: Event, connection: Connection) -> None:
        """Count the event."""
        position = event.position if self._is_derived else 0
        table = self.counts
        mine = (table.c.subject == event.subject, table.c.position == position)
        known = connection.scalar(select(table.c.count).where(*mine))
        if known is None:
            row = {"subject": event.subject, "position": position, "count": 1}
            connection.execute(insert(table).values(row))
        elif not self._is_derived:
            connection.execute(update(table).where(*mine).values(count=known + 1))

    def read(self, harness: Harness) -> object:
        """Return how many events each subject has."""
        totals: dict[str, int] = {}
        with harness.log.store.reading() as connection:
            for subject, _, count in connection.execute(select(self.counts)):
                totals[subject] = totals.get(subject, 0) + count
        return totals


@in_loop
async def test_a_plugin_that_knows_its_keys_passes(make_harness: MakeHarness) -> None:
    """Who tells the service once for each event, whatever comes twice, is sound."""
    await PluginKit(make_harness, Mailer, read_sent).check()


@in_loop
async def test_rows_that_are_derived_pass(make_harness: MakeHarness) -> None:
    """A read model whose rows follow from the events alone is sound."""
    await PluginKit(make_harness, lambda: Board(is_derived=True), Board.read).check()


@in_loop
async def test_who_sends_twice_is_found(make_harness: MakeHarness) -> None:
    """A plugin that does not recognise what it has handled fails under redelivery and replay."""
    kit = PluginKit(make_harness, lambda: Mailer(is_idempotent=False), read_sent)
    await kit.check_handling()
    with pytest.raises(AssertionError, match=r"differs\n  delivered twice: .*\n  once: "):
        await kit.check_redelivery()
    with pytest.raises(AssertionError, match=r"differs\n  replayed: .*\n  live: "):
        await kit.check_replay()


@in_loop
async def test_a_counter_is_exactly_once_live_and_twice_in_a_replay(
    make_harness: MakeHarness,
) -> None:
    """What is written in the event's transaction survives redelivery, and adds up in a replay."""
    kit = PluginKit(make_harness, lambda: Board(is_derived=False), Board.read)
    await kit.check_redelivery()
    with pytest.raises(AssertionError, match="replayed"):
        await kit.check_replay()


class Gossip:
    """A plugin that goes by what came last, from whomever."""

    def __init__(self) -> None:
        self.last: dict[str, str] = {}

    @hookimpl
    async def on_message(self, event: Event) -> None:
        """Keep who wrote last of all."""
        self.last["all"] = event.subject


class Chronicle:
    """A plugin that goes by what came last of each subject."""

    def __init__(self) -> None:
        self.last: dict[str, str | None] = {}

    @hookimpl
    async def on_message(self, event: Event) -> None:
        """Keep what each wrote last."""
        self.last[event.subject] = event.external_id


@in_loop
async def test_who_goes_by_the_order_of_strangers_is_found(make_harness: MakeHarness) -> None:
    """Order holds within a subject: to go by it is sound, to go by that of others is not."""
    await PluginKit(make_harness, Chronicle, lambda plugin, _: plugin.last).check()
    kit = PluginKit(make_harness, Gossip, lambda plugin, _: plugin.last)
    await kit.check_redelivery()
    with pytest.raises(AssertionError, match="one conversation after the other"):
        await kit.check_order()


class Dialler:
    """A plugin that calls people up: nobody is called because history is replayed."""

    def __init__(self) -> None:
        self.called: list[str] = []

    @hookimpl(replay="refuse")
    async def on_message(self, event: Event) -> None:
        """Call."""
        self.called.append(event.subject)


@in_loop
async def test_who_refuses_replays_bears_them(make_harness: MakeHarness) -> None:
    """A handler that refuses replays is called by none, and passes that check."""
    await PluginKit(make_harness, Dialler, lambda plugin, _: plugin.called).check_replay()


class Picky:
    """A plugin that cannot handle pictures, and handles nothing but messages."""

    @hookimpl
    async def on_message(self, event: Event) -> None:
        """Refuse what is not a text."""
        assert event.subtype == "text", "no text"


@in_loop
async def test_a_history_that_proves_nothing_is_refused(make_harness: MakeHarness) -> None:
    """Where handlers fail, or there is nothing for them, nothing was shown."""
    with pytest.raises(AssertionError, match="message parked: AssertionError: no text"):
        await PluginKit(make_harness, Picky, lambda *_: None).check()
    history = [notifications.status("read")]
    with pytest.raises(AssertionError, match="holds no event that the plugin handles"):
        await PluginKit(make_harness, Picky, lambda *_: None, history=history).check()
