"""The harness: a test gives it plugins and notifications, moves its clock, and looks what came."""

import asyncio
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TypeVar, Unpack

from sqlalchemy import update

from router import Router
from router.errors import RouterError
from router.events import Event
from router.log import EventLog
from router.options import explain_unknown
from router.replay_handle import ReplayOptions
from router.replay_record import Replay
from router.sources import Source
from router.store import Store
from router.testing.harness.calls import Calls
from router.testing.harness.clock import HandClock
from router.testing.harness.deliveries import Deliveries, read_deliveries
from router.testing.harness.logs import copy_log, hurry, make_log
from router.testing.harness.plugins import Plugins
from router.testing.harness.posting import Body, as_bytes, make_whatsapp, post

T = TypeVar("T")

PATIENCE = 30.0  # seconds of real time that a drain may take


class Harness:
    """A router on a log of its own, which does nothing but what the test asks for.

    Each `receive` starts a receiver and stops it again, each `drain` a worker: between two lines of
    the test nothing happens, no thread or task is left over, and any event loop will do.

    Args:
        folder: Where its files go.
        empty: A file with an empty log that is copied; None makes one.

    Attributes:
        clock: What everything goes by.
        log: The log, to look at.
    """

    def __init__(self, folder: Path, *, empty: Path | None = None) -> None:
        self.clock = HandClock()
        self._path = folder / "router.db"
        if empty is None:
            make_log(self._path)
        else:
            copy_log(empty, self._path)
        self._url = f"sqlite:///{self._path}"
        self.log = EventLog(Store(self._url, clock=self.clock.as_clock().seconds))
        hurry(self.log.store)
        self._calls = Calls()
        self._plugins = Plugins(
            self._url, log=self.log, clock=self.clock.as_clock(), calls=self._calls
        )
        self._sources: dict[str, Source] = {}
        self._receivers: list[Router] = []  # made already, and not at work
        self._drained_at = self.clock.micros
        self._snapshots = 0

    @property
    def router(self) -> Router:
        """The router that delivers, for its `control`, `dead_letters` and `replays`.

        Raises:
            RouterError: No plugin is used.
        """
        return self._plugins.router

    def use(
        self,
        plugin: object,
        *,
        name: str | None = None,
        settings: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> str:
        """Let a plugin handle what comes in from now on.

        Args:
            plugin: A module, an object, or the path of a file.
            name: What it is called; default: as it would be in code, or the file's stem.
            settings: What ``[plugins.NAME]`` would say.
            options: What ``[subscriptions.NAME]`` would say, such as ``{"timeout": "1s"}``.

        Returns:
            The plugin's name.

        Raises:
            PluginError: It cannot be loaded as it is written; says why.
            ConfigError: An option is unknown or not allowed.
        """
        return self._plugins.add(plugin, name=name, settings=settings or {}, options=options or {})

    def use_source(self, source: Source) -> None:
        """Let a source of the test's own receive; the first one takes the place of WhatsApp."""
        self._sources[source.name] = source
        self._receivers.clear()

    async def receive(
        self,
        body: Body,
        *,
        source: str | None = None,
        headers: Mapping[str, str] | None = None,
        status: int = 200,
    ) -> list[Event]:
        """Post a notification, signed as its source demands, and return the events that are new.

        Args:
            body: Bytes, or what is encoded as JSON.
            source: The source's name; default: the first one.
            headers: Sent, too, and instead of those that the signature needs.
            status: What is to be answered.

        Raises:
            AssertionError: Something else was answered.
        """
        sources = self._sources or {"whatsapp": make_whatsapp("whatsapp")}
        name = source or next(iter(sources))
        if name not in sources:
            raise RouterError(f"the source {name!r} {explain_unknown(name, sources)}")
        before = await asyncio.to_thread(self.log.head)
        router = self._receivers.pop() if self._receivers else self._make_receiver(sources)
        async with router:
            answer = await post(router.asgi(), sources[name], as_bytes(body), headers=headers or {})
        self._receivers.append(router)
        if answer.status_code != status:
            told = f"the router answered {answer.status_code}, not {status}"
            raise AssertionError(f"{told}: {answer.text or 'nothing else'}")
        return await asyncio.to_thread(lambda: list(self.log.read(after=before)))

    async def drain(self, *, seconds: float = PATIENCE) -> None:
        """Deliver until nothing is due at the present time of the clock.

        ``on_start`` and ``on_stop`` are called around it, as when a worker is restarted.

        Args:
            seconds: Of real time, that it may take.

        Raises:
            AssertionError: It took longer.
            RouterError: No plugin is used, or one of them did not start.
        """
        router = self.router
        await asyncio.to_thread(self._let_time_pass)
        async with router:
            try:
                async with asyncio.timeout(seconds):
                    await router.catch_up()
            except TimeoutError:
                raise AssertionError(
                    f"after {seconds:g} s the router is still at work: is a handler waiting for"
                    " something that never comes? Errors of the router itself are in its log"
                ) from None

    async def replay(self, name: str | None = None, **how: Unpack[ReplayOptions]) -> Replay:
        """Hand history over once more, and return the replay as it stands when nothing is due.

        Args:
            name: Of the plugin; may be left out where there is but one.
            how: As `Router.replay` takes it.

        Raises:
            Refused: The handlers refuse it, or would all be skipped; says the ways to allow it.
        """
        handle = await self.router.replay(self._plugins.choose(name), **how)
        await self.drain()
        return await handle.progress()

    def deliveries(self, name: str | None = None, *, replay: int | None = None) -> Deliveries:
        """Return what has become of the events that a plugin handles.

        Args:
            name: Of the plugin; may be left out where there is but one.
            replay: The id of a replay, for what that has handed over.
        """
        name = self._plugins.choose(name)
        types = list(self._plugins.subscriptions[name].handlers)
        return read_deliveries(name, types, log=self.log, calls=self._calls, replay=replay)

    def run(self, work: Coroutine[object, object, T]) -> T:
        """Carry out `receive`, `drain` or `replay` in a test that is a plain ``def``."""
        return asyncio.run(_await(work))

    def snapshot(self) -> Path:
        """Return a copy of the database as it is now, for `restore`."""
        self._snapshots += 1
        path = self._path.with_name(f"snapshot-{self._snapshots}.db")
        self.close()
        copy_log(self._path, path)
        return path

    def restore(self, snapshot: Path) -> None:
        """Put the database back as it was, as if all that has happened since had been lost."""
        self.close()
        copy_log(snapshot, self._path)

    def close(self) -> None:
        """Let go of the database; whatever is asked for opens it again."""
        self._plugins.close()
        self.log.store.close()

    def _make_receiver(self, sources: Mapping[str, Source]) -> Router:
        clock = self.clock.as_clock()
        router = Router(self._url, sources=list(sources.values()), clock=clock, delivers=False)
        hurry(router.log.store)
        return router

    def _let_time_pass(self) -> None:
        """Count what the clock was put forward as time in which the subscriptions were run.

        Whoever advances the clock has no outage in mind, which `give_up_after` would not count.
        """
        passed, self._drained_at = self.clock.micros - self._drained_at, self.clock.micros
        lane = self.log.store.tables.lane
        if passed > 0:
            with self.log.store.writing() as connection:
                connection.execute(update(lane).values(uptime=lane.c.uptime + passed))
            self.log.store.close()  # with the thread that writing has started


async def _await(work: Coroutine[object, object, T]) -> T:
    return await work
