"""The router: the one place where store, sources, plugins, receiver and dispatcher meet."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Self, Unpack

from sqlalchemy import Engine
from starlette.types import ASGIApp

from router import assembly, lifecycle, migrate, plugin_tables, standstill, traced
from router import config as settings
from router.appending import Appending
from router.clock import Clock
from router.config import Config
from router.control import Control
from router.dead import DeadLetters
from router.dispatcher import Dispatcher
from router.errors import RouterError
from router.events import Event
from router.host import Host
from router.log import EventLog
from router.meters import Registry
from router.outbox import AppendOptions, Outbox
from router.outlet import make_outlet
from router.receiver import NOT_HERE, Receiver, make_application
from router.reparsing import Reparsing
from router.replay import Replays
from router.replay_handle import ReplayHandle, ReplayOptions, start_rebuild, start_replay
from router.rows import Appended
from router.schema import make_tables
from router.sources import Source
from router.store import Store
from router.tracing import TracerProvider


class Router:
    """Receives notifications and delivers their events; nothing runs before it is entered.

    Args:
        database: A URL, or an engine that the caller keeps and disposes of; a few of its
            connections are kept for writing.
        sources: Where notifications come from; each is served at ``/webhooks/{its name}``.
        plugins: Modules or objects whose hooks are called. A `Host` that has loaded others, from
            files or installed distributions, may be given instead.
        subscriptions: Options by plugin, as the tables ``[subscriptions.NAME]`` would hold them.
        schema: The schema of the tables, where the engine has schemas.
        table_prefix: Put before each table's name.
        listen: The server's own URL, for wake-ups, where ``database`` is a pooler's; or "off".
        max_body: The largest body that is taken, in bytes.
        dedupe_seconds: How long an event is known again, at least; None is for ever.
        clock: Time and chance, for tests; None is the database's clock and real ones.
        http_allow: Networks and hosts besides the public ones that handlers may reach by HTTP.
        metrics: A registry of `prometheus_client` that shows what is done, while the router runs.
        tracing: Whether spans are made, or the provider of OpenTelemetry's that makes them.
        receives: Whether this process takes notifications.
        delivers: Whether this process calls handlers.

    Raises:
        StoreError: The database cannot be opened.
        ConfigError: Two sources have one name, or an option is not allowed.

    Example:
        ``async with Router("sqlite:///router.db", sources=[source], plugins=[module]): ...``
    """

    def __init__(
        self,
        database: str | Engine,
        *,
        sources: Sequence[Source] = (),
        plugins: Sequence[object] | Host = (),
        subscriptions: Mapping[str, Mapping[str, object]] | None = None,
        schema: str | None = None,
        table_prefix: str = "",
        listen: str | None = None,
        max_body: int = assembly.MAX_BODY,
        dedupe_seconds: float | None = assembly.DEDUPE_SECONDS,
        clock: Clock | None = None,
        http_allow: Sequence[str] = (),
        metrics: Registry | None = None,
        tracing: bool | TracerProvider = False,
        receives: bool = True,
        delivers: bool = True,
    ) -> None:
        self.host = assembly.make_host(plugins, own=make_tables(schema=schema, prefix=table_prefix))
        self._subscriptions = assembly.make_subscriptions(self.host, subscriptions or {})
        self._outlet = make_outlet(http_allow, clock=lambda: self._store.now() / 1_000_000)
        self._clock = clock
        seconds = None if clock is None else clock.seconds
        self._store = Store(
            database, schema=schema, table_prefix=table_prefix, listen=listen, clock=seconds
        )
        self.log = EventLog(self._store, dedupe_seconds=dedupe_seconds)
        self.log.tracing = assembly.make_tracing(tracing)
        self._metrics, self._receives, self._delivers = metrics, receives, delivers
        self._sources = assembly.index_sources(sources)
        self._receiver = Receiver(
            self._sources,
            max_body=max_body,
            check=self._store.require_current,
            clock=seconds or time.time,
            meters=self.log.meters,
        )
        self._outbox = Outbox(self.log, sources=self._sources, on_append=self.wake)
        self._dispatcher: Dispatcher | None = None
        self._running = AsyncExitStack()  # what is to be ended
        self._is_entered = False

    @classmethod
    def from_config(
        cls, path: Path | str | None = None, *, receives: bool = True, delivers: bool = True
    ) -> Self:
        """Return the router that `router.toml`, or the file at ``path``, describes.

        Raises:
            ConfigError: A setting is missing, unknown or not allowed.
            PluginError: A plugin cannot be loaded.
        """
        file = None if path is None else Path(path)
        found = settings.load(file, environ=os.environ, working=Path.cwd(), overrides={})
        return cls.from_settings(found, receives=receives, delivers=delivers)

    @classmethod
    def from_settings(cls, config: Config, *, receives: bool = True, delivers: bool = True) -> Self:
        """Return the router that ``config`` describes, with all plugins that are installed."""
        host = Host.load(directories=config.plugins_dir, configured=config.plugin_settings)
        host.require_sound()
        sources = assembly.make_sources(config, host) if receives else ()
        chosen = assembly.choose_arguments(config)
        router = cls(**chosen, sources=sources, plugins=host, receives=receives, delivers=delivers)
        assembly.warn_of_strays(host, config)
        return router

    @property
    def control(self) -> Control:
        """Pauses, resumes, skips, renames, relanes and forgets subscriptions.

        Its calls wait for the database: ``await asyncio.to_thread(router.control.pause, "crm",
        actor="ana")``.
        """
        return Control(self._store)

    @property
    def dead_letters(self) -> DeadLetters:
        """Lists, redrives and discards what was given up; its calls wait for the database."""
        return DeadLetters(self._store)

    @property
    def replays(self) -> Replays:
        """Plans, starts, lists and steers replays; its calls wait for the database."""
        return Replays(self.log)

    @property
    def reparsing(self) -> Reparsing:
        """Splits again what its sources stored; its calls wait for the database."""
        return Reparsing(self.log, self._sources)

    def append(self, source: str, body: bytes, **how: Unpack[AppendOptions]) -> Appended:
        """Append a notification of the host's own, as `Outbox.append` does; waits for the database.

        ``router.append("shop", body, events=[Draft(...)], connection=connection)`` is the last
        statement of a transaction of the host's.
        """
        return self._outbox.append(source, body, **how)

    def wake(self, events: Sequence[Event] = ()) -> None:
        """Let this process deliver now what a host has committed, from any thread.

        Unless it is told it looks twice a second; on PostgreSQL the commit tells it.
        """
        if (dispatcher := self._dispatcher) is not None:
            dispatcher.wake(events)

    async def replay(self, subscription: str, **how: Unpack[ReplayOptions]) -> ReplayHandle:
        """Start to hand a range of history to a subscription again; a worker carries it out.

        Args:
            subscription: Its name; a plugin of this router may be one that has never run.
            how: See `ReplayOptions`: which events, how fast, and why.

        Raises:
            UnknownName: There is no such subscription, and no such plugin.
            Refused: Its handlers refuse it, or would all be skipped; says the ways to allow it.
        """
        policies = {one.name: one.policies for one in self._subscriptions}.get(subscription)
        return await start_replay(self.replays, subscription, policies=policies, **how)

    async def rebuild(
        self, plugin: str, *, reason: str = "", actor: str = "", is_partial: bool = False
    ) -> ReplayHandle:
        """Fill the tables of a plugin of this router anew from history, then switch to them.

        ``is_partial`` allows it although the log was pruned.

        Raises:
            RouterError: There is no such plugin, or its tables cannot be rebuilt; says why.
        """
        one = assembly.find_subscription(self._subscriptions, plugin)
        how = {"reason": reason, "actor": actor}
        return await start_rebuild(self.replays, one, is_partial=is_partial, **how)

    def asgi(self) -> ASGIApp:
        """Return the ASGI application: to be served, or mounted in another one.

        Served by itself it starts and stops the router. Mounted, it does not, since the lifespan of
        a mounted application never runs: pass `lifespan` to the outer one.
        """
        receiver, routes, tracing = self._receiver, self.host.routes(), self.log.tracing
        return make_application(receiver, lifespan=self.lifespan, routes=routes, tracing=tracing)

    @asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Run the router while the block lasts, as ASGI frameworks ask for it."""
        async with self:
            yield

    async def __aenter__(self) -> Self:
        """Start: check plugins and schema, then deliver, then receive.

        Raises:
            PluginError: A plugin is broken.
            SchemaError: The database is not at this version's revision, or lacks a plugin's table.
        """
        if self._is_entered:
            raise RouterError("the router runs already: enter it once")
        self._is_entered = True
        async with AsyncExitStack() as stack:
            stack.callback(self._leave)
            self.host.require_sound()
            stack.push_async_callback(asyncio.to_thread, self._store.close)
            await asyncio.to_thread(self._store.require_current)
            await asyncio.to_thread(plugin_tables.require, self._store.engine, self.host.tables())
            stack.enter_context(assembly.exposing(self.log, self._metrics))
            await lifecycle.start(self.host.running())
            stack.push_async_callback(lifecycle.stop, self.host.running())
            if self._delivers:
                await self._start_dispatcher(stack)
            if self._receives:
                await self._start_receiver(stack)
            else:
                self._receiver.close(NOT_HERE)
            self._running = stack.pop_all()
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Stop: take nothing new, finish what was begun, write all down."""
        await self._running.aclose()

    def create_tables(self) -> None:
        """Create the router's tables, or bring them to this version; create those of plugins.

        As `router db upgrade`, for plugins, schema and prefix that only the code knows. It is never
        done unasked, and waits for the database: in async code, call it on a thread.

        Raises:
            SchemaError: The database is newer than this version, or does not take the tables.
            PluginError: A plugin is broken; the tables of the others are there.
        """
        self._store.create()
        migrate.upgrade(self._store.engine, self._store.tables)
        plugin_tables.create(self._store.engine, self.host.tables())
        self.host.require_sound()

    def _leave(self) -> None:
        self._is_entered = False

    async def catch_up(self) -> None:
        """Wait until all that is in the log is handled, or waits for its next attempt."""
        if self._dispatcher is not None:
            await self._dispatcher.catch_up()

    async def drain(self) -> None:
        """Refuse notifications and wait for the handlers under way, at most 30 seconds.

        `__aexit__` does it, too; call it earlier to let probes see the router leave.
        """
        self._receiver.close()
        if self._dispatcher is not None:
            dispatcher, self._dispatcher = self._dispatcher, None
            await dispatcher.stop()

    async def _start_dispatcher(self, stack: AsyncExitStack) -> None:
        stack.enter_context(standstill.watching(self._subscriptions))
        log, clock, listeners = self.log, self._clock, lifecycle.make_listeners(self.host.running())
        self._dispatcher = Dispatcher(
            self._subscriptions, log=log, clock=clock, outlet=self._outlet, listeners=listeners
        )
        stack.push_async_callback(self.drain)
        await self._dispatcher.start()

    async def _start_receiver(self, stack: AsyncExitStack) -> None:
        appending = Appending(self.log, on_append=self.wake)
        appending.start()
        stack.push_async_callback(asyncio.to_thread, appending.stop)
        self._receiver.open(traced.trace_appends(appending.writer, self.log.tracing))
        stack.push_async_callback(self.drain)
