"""The promises of a plugin: what is delivered again, replayed or mixed leaves the same behind."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

from router.events import Event
from router.replay_plan import Refused
from router.testing import notifications
from router.testing.harness import Harness

P = TypeVar("P")


class PluginKit(Generic[P]):
    """Delivers the same history in several ways and compares what a plugin makes of it.

    Args:
        make_harness: Makes a harness, as the fixture of that name does.
        make_plugin: Makes the plugin afresh, or returns its module.
        read: Returns what the plugin has made of its events, to be compared by ``==``: rows of its
            tables, or what was sent to a stand-in of a service. It is given the plugin and the
            harness.
        history: The bodies of notifications, in order; default: two conversations with messages,
            statuses and errors.
        settings: What ``[plugins.NAME]`` would say.
        options: What ``[subscriptions.NAME]`` would say.
    """

    def __init__(
        self,
        make_harness: Callable[[], Harness],
        make_plugin: Callable[[], P],
        read: Callable[[P, Harness], object],
        *,
        history: Sequence[bytes] | None = None,
        settings: dict[str, object] | None = None,
        options: dict[str, object] | None = None,
    ) -> None:
        self._make_harness = make_harness
        self._make_plugin = make_plugin
        self._read = read
        self._history = tuple(make_history() if history is None else history)
        self._settings = settings
        self._options = options

    async def check(self) -> None:
        """Return when all promises are kept.

        Raises:
            AssertionError: One is not; says which, and shows both results.
        """
        await self.check_handling()
        await self.check_redelivery()
        await self.check_replay()
        await self.check_order()

    async def check_handling(self) -> None:
        """Return when every event of the history is handled: else the rest would prove little."""
        harness, _ = await self._deliver(self._history)
        deliveries = harness.deliveries()
        if not deliveries:
            raise AssertionError("the history holds no event that the plugin handles")
        failed = [one for one in deliveries if one.outcome != "done"]
        if failed:
            told = [f"{one.event.type} {one.outcome}: {one.error}" for one in failed]
            raise AssertionError(f"not every event was handled: {'; '.join(told)}")

    async def check_redelivery(self) -> None:
        """Return when events that are delivered twice leave behind what they do once.

        A power cut, or a process that dies, between a handler's return and the record of it: the
        worker that comes next delivers the same events, by the same ``event.id``.
        """
        harness, plugin = self._use()
        for body in self._history:
            await harness.receive(body)
        before = harness.snapshot()
        await harness.drain()
        once = self._read(plugin, harness)
        harness.restore(before)
        await harness.drain()
        self._compare("delivered twice", "once", self._read(plugin, harness), once)

    async def check_replay(self) -> None:
        """Return when a replay of all history changes nothing in what live delivery left behind.

        So it is, too, where a handler refuses replays: there is none.
        """
        harness, plugin = await self._deliver(self._history)
        live = self._read(plugin, harness)
        with suppress(Refused):
            await harness.replay(include_effects=True)
        self._compare("replayed", "live", self._read(plugin, harness), live)

    async def check_order(self) -> None:
        """Return when it does not matter how conversations are mixed.

        Order is kept within a subject alone: of two conversations, either may come first.
        """
        harness, plugin = await self._deliver(self._history)
        mixed = self._read(plugin, harness)
        other, turned = await self._deliver(*_group(harness.log.read()))
        told = "with one conversation after the other", "as they were mixed"
        self._compare(*told, self._read(turned, other), mixed)

    async def _deliver(self, *histories: Sequence[bytes]) -> tuple[Harness, P]:
        """Deliver one history after the other to a fresh plugin."""
        harness, plugin = self._use()
        for history in histories:
            for body in history:
                await harness.receive(body)
            await harness.drain()
        return harness, plugin

    def _use(self) -> tuple[Harness, P]:
        harness, plugin = self._make_harness(), self._make_plugin()
        harness.use(plugin, settings=self._settings, options=self._options)
        return harness, plugin

    @staticmethod
    def _compare(changed: str, plain: str, found: object, expected: object) -> None:
        if found != expected:
            raise AssertionError(
                f"the plugin's state differs\n  {changed}: {found!r}\n  {plain}: {expected!r}"
            )


def _group(events: Iterable[Event]) -> list[list[bytes]]:
    """Return the bodies of the events, conversation by conversation, the last one first."""
    subjects: defaultdict[str, list[bytes]] = defaultdict(list)
    for event in events:
        bodies = subjects[event.subject]
        if event.notification.body not in bodies:
            bodies.append(event.notification.body)
    return list(reversed(subjects.values()))


def make_history() -> list[bytes]:
    """Return notifications of two conversations, mixed, with an event of each type."""
    first, second = "12015550101", "12015550102"
    return [
        notifications.message("Is it there?", sender=first, id="wamid.C1"),
        notifications.message("Hello", sender=second, id="wamid.C2"),
        notifications.status("sent", recipient=first, id="wamid.B1"),
        notifications.status("sent", recipient=second, id="wamid.B2"),
        notifications.status("delivered", recipient=first, id="wamid.B1"),
        notifications.status("failed", recipient=second, id="wamid.B2"),
        notifications.message("Thanks!", sender=first, id="wamid.C3"),
        notifications.status("read", recipient=first, id="wamid.B1"),
        notifications.message(kind="image", sender=second, id="wamid.C4"),
        notifications.error(131000),
        notifications.field("account_update"),
    ]
