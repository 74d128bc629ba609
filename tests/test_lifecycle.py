"""Tests of `router.lifecycle`: plugins start in turn, stop in reverse, and fail alone."""

import asyncio
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from router import lifecycle
from router.errors import PluginError
from router.hookspecs import hookimpl
from router.host import Host, Plugin


class Recorder:
    """A plugin that writes down what it is told, and fails where it is told to.

    Args:
        name: Its name.
        calls: Where it writes to.
        failing: The hooks that raise.
    """

    def __init__(self, name: str, calls: list[str], *, failing: tuple[str, ...] = ()) -> None:
        self.plugin_name = name
        self._calls = calls
        self._failing = failing

    def _note(self, hook: str) -> None:
        self._calls.append(f"{self.plugin_name} {hook}")
        if hook in self._failing:
            raise RuntimeError("call +5215512345678")

    @hookimpl
    def on_start(self) -> None:
        """Note it, on a thread."""
        self._note("on_start")

    @hookimpl
    async def on_stop(self) -> None:
        """Note it, on the loop."""
        self._note("on_stop")

    @hookimpl
    def on_dead(self) -> None:
        """Note it, on a thread."""
        self._note("on_dead")


def load(*plugins: object, **configured: dict[str, object]) -> list[Plugin]:
    """Return these plugins, ready to run."""
    host = Host.load(plugins=plugins, entry_points=(), configured=configured)
    host.require_sound()
    return host.running()


def test_plugins_start_in_order_and_stop_in_reverse() -> None:
    """The plugin that started last stops first."""
    calls: list[str] = []
    plugins = load(Recorder("a", calls), Recorder("b", calls))
    asyncio.run(lifecycle.start(plugins))
    asyncio.run(lifecycle.stop(plugins))
    assert calls == ["a on_start", "b on_start", "b on_stop", "a on_stop"]


def test_a_plugin_starts_with_its_settings() -> None:
    """What the configuration says reaches `on_start` as the plugin's own type."""

    class Settings(msgspec.Struct):
        url: str

    class Crm:
        found: object = None

        @hookimpl
        def settings(self) -> type:
            return Settings

        @hookimpl
        async def on_start(self, settings: object) -> None:
            self.found = settings

    crm = Crm()
    asyncio.run(lifecycle.start(load(crm, crm={"url": "https://crm"})))
    assert crm.found == Settings("https://crm")


def test_a_plugin_that_cannot_start_is_named() -> None:
    """The start fails with the culprit, and what had started is stopped again."""
    calls: list[str] = []
    plugins = load(
        Recorder("a", calls), Recorder("b", calls, failing=("on_start",)), Recorder("c", calls)
    )
    with pytest.raises(PluginError, match=r"plugin 'b': on_start\(\) failed: RuntimeError: call"):
        asyncio.run(lifecycle.start(plugins))
    assert calls == ["a on_start", "b on_start", "a on_stop"]


def test_a_start_that_is_cancelled_is_undone() -> None:
    """Being cancelled half-way leaves no plugin started."""
    calls: list[str] = []

    class Slow:
        @hookimpl
        async def on_start(self) -> None:
            asyncio.current_task().cancel()  # type: ignore[union-attr]
            await asyncio.sleep(0)

    plugins = load(Recorder("a", calls), Slow())
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(lifecycle.start(plugins))
    assert calls == ["a on_start", "a on_stop"]


def test_a_plugin_that_cannot_stop_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failure while stopping is logged with its place, without what it says."""
    calls: list[str] = []
    plugins = load(Recorder("a", calls), Recorder("b", calls, failing=("on_stop",)))
    with caplog.at_level(logging.ERROR, logger="router"):
        asyncio.run(lifecycle.stop(plugins))
    assert calls == ["b on_stop", "a on_stop"]
    [line] = caplog.messages
    assert line.startswith(f"plugin b: on_stop() raised RuntimeError ({__file__}:")
    assert "521551" not in caplog.text


class Leaver:
    """A plugin that would end the process.

    Attributes:
        plugin_name: Its name.
    """

    plugin_name = "leaver"

    @hookimpl
    def on_start(self) -> None:
        """Try to, on a thread."""
        sys.exit(0)

    @hookimpl
    async def on_stop(self) -> None:
        """Try to, on the loop."""
        sys.exit(0)


def test_a_plugin_that_would_end_the_process_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """`sys.exit(0)` is a failure like any other: the router does not end as if all were well."""
    calls: list[str] = []
    plugins = load(Recorder("a", calls), Leaver())

    with pytest.raises(PluginError, match=r"plugin 'leaver': on_start\(\) failed: SystemExit: 0"):
        asyncio.run(lifecycle.start(plugins))
    assert calls == ["a on_start", "a on_stop"]
    asyncio.run(lifecycle.stop(plugins))
    assert calls == ["a on_start", "a on_stop", "a on_stop"]
    assert "plugin leaver: on_stop() raised SystemExit" in caplog.text


GIVEN = {"event": None, "subscription": "crm", "attempts": 3, "error": "boom"}


def alert(plugins: list[Plugin], *, seconds: float = 30.0) -> None:
    """Tell ``plugins`` of a dead letter."""
    asyncio.run(lifecycle.alert(plugins, "on_dead", GIVEN, seconds=seconds))


class Telling:
    """A plugin that does on an alert what it is told to do, and hears of its end."""

    def __init__(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        self.plugin_name = name
        self.ended = asyncio.Event()
        self._work = work

    @hookimpl
    async def on_dead(self, subscription: str) -> None:
        """Do it."""
        try:
            await self._work()
        finally:
            self.ended.set()


def test_an_alert_reaches_every_plugin(caplog: pytest.LogCaptureFixture) -> None:
    """A plugin that fails on an alert keeps no other from hearing it, and says nothing of it."""
    calls: list[str] = []
    alert(load(Recorder("a", calls, failing=("on_dead",)), Recorder("b", calls)))
    assert sorted(calls) == ["a on_dead", "b on_dead"]
    [line] = caplog.messages
    assert line.startswith(f"plugin a: on_dead() raised RuntimeError ({__file__}:")
    assert "521551" not in caplog.text


@pytest.mark.parametrize("error", [asyncio.CancelledError(), SystemExit(1)])
def test_no_alert_ends_its_caller(error: BaseException) -> None:
    """Not even what ends a task or a process, raised in an alert, ends more than that alert."""
    calls: list[str] = []

    async def leave() -> None:
        raise error

    alert(load(Telling("a", leave), Recorder("b", calls)))
    assert calls == ["b on_dead"]


def test_only_plugins_that_run_are_told() -> None:
    """A plugin that is turned off hears of nothing."""
    calls: list[str] = []
    running, off = load(Recorder("a", calls), Recorder("b", calls))
    alert([running, msgspec.structs.replace(off, is_enabled=False)])
    assert calls == ["a on_dead"]


def test_an_alert_waits_for_no_other() -> None:
    """All are called at once: each of two ends when both have begun."""
    begun: list[str] = []

    async def meet() -> None:
        begun.append("one")
        while len(begun) < 2:
            await asyncio.sleep(0)

    alert(load(Telling("a", meet), Telling("b", meet)))
    assert len(begun) == 2


def test_an_async_alert_is_cancelled_when_its_time_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It ends within the time that it has, and the log says so."""

    async def hang() -> None:
        await asyncio.Event().wait()

    [plugin] = load(Telling("a", hang))
    alert([plugin], seconds=0.01)
    assert isinstance(plugin.module, Telling)
    assert plugin.module.ended.is_set()
    assert caplog.messages == ["plugin a: on_dead() took more than 0.01 s"]


def test_a_plain_alert_that_hangs_takes_no_thread_from_another() -> None:
    """However many calls of a plugin hang, another is told, and the process can end."""
    script = """
import asyncio, threading
from router import hookimpl, lifecycle
from router.host import Host

class Hanging:
    calls = 0
    @hookimpl
    def on_dead(self, error):
        self.calls += 1
        threading.Event().wait()

class Sound:
    @hookimpl
    def on_dead(self, error):
        print(error, flush=True)

hanging = Hanging()
plugins = Host.load(plugins=[hanging, Sound()], entry_points=()).running()
given = {"event": None, "subscription": "crm", "attempts": 1, "error": "boom"}
for _ in range(12):
    asyncio.run(lifecycle.alert(plugins[:1], "on_dead", given, seconds=0.05))
asyncio.run(lifecycle.alert(plugins[1:], "on_dead", given, seconds=30))
print(hanging.calls)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "boom\n4\n"
    assert done.stderr.count("plugin hanging: on_dead() took more than") == 12
