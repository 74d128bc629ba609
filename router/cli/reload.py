"""`--reload`: the command runs in a process of its own, which is started anew upon a change."""

import asyncio
import importlib
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType

import click

from router.cli.places import Places, find_places, read_again
from router.config import Config
from router.errors import RouterError

FLAG = "--reload"
GLANCE = 200  # milliseconds in which a watch notices that it is to end

logger = logging.getLogger("router.reload")

option = click.option(
    FLAG,
    "is_reloading",
    is_flag=True,
    help="Start anew when the code of a plugin or the settings change; for development.",
)


def require_watchfiles() -> ModuleType:
    """Return the package that sees files change.

    Raises:
        RouterError: The extra is not installed.
    """
    try:
        return importlib.import_module("watchfiles")  # an extra: servers have no use for it
    except ImportError:
        raise RouterError(
            f"{FLAG} needs watchfiles, which is not installed: install the router with its extra "
            '"reload", notification-router[reload]'
        ) from None


def reload(found: Config, *more: str) -> None:
    """Run this process's command without ``--reload``, again and again, until a signal comes.

    Args:
        found: The settings as they are at the beginning.
        *more: Words to add to the command's.

    Raises:
        RouterError: The extra is not installed.
    """
    require_watchfiles()
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
    words = [*_find_program(), *(word for word in sys.argv[1:] if word != FLAG), *more]
    keeper = Keeper(words, find=lambda: find_places(read_again(found)))
    code = asyncio.run(keeper.run())
    if code:
        raise click.exceptions.Exit(code)


def _find_program() -> list[str]:
    """Return how this process was started, as far as that decides what it can import."""
    is_module = Path(sys.argv[0]).name == "__main__.py"
    return [sys.executable, *([] if is_module else ["-P"]), "-m", "router.cli"]


def _read_code(code: int) -> int:
    """Return the exit code of a process that was told to stop, maybe while it was starting."""
    if code == -signal.SIGTERM:
        return 0
    return 1 if code < 0 else code


class Keeper:
    """Keeps a command running, one process after another.

    Each is told to stop as by an operator, and has ended before the next one begins: the calls
    under way return, and what comes meanwhile waits with its sender.

    Args:
        words: The program and its arguments.
        find: Says what is to be watched by now.
    """

    def __init__(self, words: Sequence[str], *, find: Callable[[], Places]) -> None:
        self._words = words
        self._find = find
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()
        self._child: asyncio.subprocess.Process | None = None
        self._is_told = False  # whether that was told to stop
        self._places: Places | None = None
        self._watch: asyncio.Task[None] | None = None

    async def run(self) -> int:
        """Run until SIGTERM, SIGHUP or Ctrl-C, the second of which stops at once.

        Returns:
            The exit code: that of the process that was told to stop; 0 where none ran.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._leave)
        try:
            while True:
                self._changed.clear()
                await self._look()
                if self._leaving.is_set():
                    return 0
                child = await self._start()
                await self._wait_for(child.wait(), self._changed.wait(), self._leaving.wait())
                if self._leaving.is_set():
                    return _read_code(await child.wait())
                if not self._changed.is_set():
                    logger.error("it ended by itself, with exit code %s", child.returncode)
                    logger.info("waiting for a change of %s", self._name_places())
                    await self._wait_for(self._changed.wait(), self._leaving.wait())
                if self._leaving.is_set():
                    return 0
                logger.info("there is a change: starting anew")
                self._terminate()
                await child.wait()
        finally:
            await self._forget(self._watch)

    def _leave(self) -> None:
        # One that is told to stop for a change needs no second word: that would cut its calls.
        if self._leaving.is_set() or not self._is_told:
            self._terminate()
        self._leaving.set()

    def _terminate(self) -> None:
        self._is_told = True
        if self._child is not None:
            with suppress(ProcessLookupError):
                self._child.terminate()

    async def _start(self) -> asyncio.subprocess.Process:
        # In a group of its own: of a Ctrl-C it learns from here, and once.
        child = await asyncio.create_subprocess_exec(*self._words, process_group=0)
        self._child, self._is_told = child, False
        if self._leaving.is_set():  # the signal came while there was nobody to tell
            self._terminate()
        return child

    async def _look(self) -> None:
        """Watch what is to be watched by now; the old watch ends when the new one has begun.

        Each time anew: a folder that was taken away and put back is another one.
        """
        places = self._find()
        begun = asyncio.Event()
        old, self._places = self._watch, places
        self._watch = asyncio.create_task(self._notice(places, begun))
        await self._wait_for(begun.wait(), asyncio.shield(self._watch))
        await self._forget(old)
        if self._watch.done():
            self._watch.result()

    async def _notice(self, places: Places, begun: asyncio.Event) -> None:
        changes = require_watchfiles().awatch(
            *places.watched,
            watch_filter=lambda _change, path: places.holds(Path(path)),
            recursive=False,
            rust_timeout=GLANCE,
            yield_on_timeout=True,
        )
        async for found in changes:
            begun.set()
            if found:
                self._changed.set()

    def _name_places(self) -> str:
        places = self._places
        names = sorted(map(str, (*places.paths, *places.folders))) if places else ()
        return ", ".join(names)

    @staticmethod
    async def _forget(watch: asyncio.Task[None] | None) -> None:
        if watch is not None:
            watch.cancel()
            await asyncio.wait([watch])

    @staticmethod
    async def _wait_for(*awaited: Awaitable[object]) -> None:
        """Wait until one of them has come."""
        tasks = [asyncio.ensure_future(one) for one in awaited]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
