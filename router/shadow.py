"""A shadow: a plugin handles events of history, and what it does there neither leaves nor stays."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from router import lifecycle, plugin_tables
from router.errors import PluginError
from router.events import Event, Replaying
from router.failures import Failed
from router.host import Plugin
from router.lending import Lent
from router.log import EventLog
from router.outlet import Outlet
from router.subscriptions import Caller, Subscription, Undone
from router.threads import Threads
from router.transports import Recording, Sent

GRACE = 10.0  # seconds beyond a handler's time for which its transaction may stand still
# Seconds in transactions after which others get as many: on SQLite, an append waits for each.
TURN = 0.02
DONE, NOT_HANDLED = "done", "not handled"

Sleep = Callable[[float], Awaitable[None]]


class Trial(msgspec.Struct, frozen=True):
    """What one version of a plugin did with one event.

    Attributes:
        outcome: "done"; "failed", "timed out", "retry" or "rejected"; or "not handled", where it
            has no handler for the type.
        error: What the handler raised; empty where it returned.
        calls: What it asked by HTTP, in that order, none of which was sent.
    """

    outcome: str
    error: str = ""
    calls: tuple[Sent, ...] = ()

    @property
    def is_failure(self) -> bool:
        """Whether a handler was called that did not return in time."""
        return self.outcome not in (DONE, NOT_HANDLED)


class Version(msgspec.Struct, frozen=True, eq=False):
    """One version of a plugin: as it was loaded, and with the options of its subscription."""

    plugin: Plugin
    subscription: Subscription

    def require_declared(self) -> None:
        """Refuse a plugin whose calls nobody could keep from being sent.

        Raises:
            PluginError: It does not say that it calls out by ``context.http`` alone.
        """
        name = self.subscription.name
        if self.subscription.options.calls_out is None:
            raise PluginError(
                name,
                "it does not say that it calls out only through context.http, so its calls might "
                "be sent. If that is so, or it calls out to nobody, say it in its code: let "
                'subscription_options() return {"calls_out": "context.http"} '
                f"[{self.plugin.origin}]",
            )


class Shadow:
    """Calls the handlers of one version, one event at a time.

    Each event has a transaction of its own, which is rolled back: a handler sees the database as it
    is, and not what it wrote for an event before. So the write lock is held for the length of one
    call at most.

    Args:
        version: Whose.
        log: What handlers may read from; it should be one that writes nothing.
        replaying: What handlers are told.
        sleep: Waits for some seconds.
        monotonic: Seconds of a clock that only goes forward.
    """

    def __init__(
        self,
        version: Version,
        *,
        log: EventLog,
        replaying: Replaying,
        sleep: Sleep = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._subscription = version.subscription
        self._store = log.store
        self._replaying = replaying
        self._sleep = sleep
        self._monotonic = monotonic
        self._calls: list[Sent] = []
        self._outlet = Outlet(recording=Recording(self._record))
        self._caller = Caller(version.subscription, log=log, concurrency=1, outlet=self._outlet)
        self._threads = Threads(1, name=f"router-shadow-{version.subscription.name}")
        self._owed = 0.0  # seconds that others may use the database alone

    async def handle(self, event: Event) -> Trial:
        """Call the handler of ``event``, and return what came of it.

        Raises:
            Unavailable: The database does not answer.
        """
        if event.type not in self._subscription.handlers:
            return Trial(NOT_HANDLED)
        event = msgspec.structs.replace(event, replay=self._replaying)
        self._calls = []  # one that a former call still makes, against its word, is not of this one
        if self._subscription.is_transactional:
            failed = await self._rehearse(event)
        else:
            failed = await self._caller.call(event, attempt=1)
        calls = tuple(self._calls)
        if failed is None:
            return Trial(DONE, calls=calls)
        return Trial(failed.failure.outcome, failed.failure.error, calls)

    async def close(self) -> None:
        """Let go of the threads."""
        await self._outlet.close()
        self._caller.close()
        self._threads.shutdown()

    def _record(self, sent: Sent) -> None:
        self._calls.append(sent)

    async def _rehearse(self, event: Event) -> Failed | None:
        loop = asyncio.get_running_loop()
        failed = await loop.run_in_executor(self._threads, partial(self._call_within, event))
        if self._owed >= TURN:
            await self._sleep(self._owed)
            self._owed = 0.0
        return failed

    def _call_within(self, event: Event) -> Failed | None:
        patience = self._subscription.options.timeout + GRACE
        began = self._monotonic()
        try:
            with self._store.rehearsing(idle=patience) as connection, Lent(connection) as lent:
                return self._caller.call_within(lent, event, attempt=1)
        except Undone as error:
            return error.failed
        finally:
            self._owed += self._monotonic() - began


@asynccontextmanager
async def opened(version: Version, *, log: EventLog, replaying: Replaying) -> AsyncIterator[Shadow]:
    """Start a version of a plugin for the length of a ``with`` block, and stop it again.

    Args:
        version: One that `Version.require_declared` lets pass.
        log: What handlers may read from.
        replaying: What handlers are told.

    Raises:
        SchemaError: A table that it keeps is missing.
        PluginError: Its ``on_start`` failed.
    """
    plugin = version.plugin
    if plugin.declared.tables is not None:
        plugin_tables.require(log.store.engine, {plugin.name: plugin.declared.tables})
    await lifecycle.start([plugin])
    shadow = Shadow(version, log=log, replaying=replaying)
    try:
        yield shadow
    finally:
        await shadow.close()
        await lifecycle.stop([plugin])
