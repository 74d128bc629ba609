"""A Coreapp for tests that are not asynchronous: it runs in a thread of its own."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

from router.testing.coreapp.accounts import Accounts
from router.testing.coreapp.api import Trust
from router.testing.coreapp.coreapp import Coreapp
from router.testing.coreapp.ledger import Ledger
from router.testing.coreapp.settings import ApplicationSettings, Json
from router.testing.coreapp.troubles import Troubles

T = TypeVar("T")


class RunningCoreapp:
    """A `Coreapp` that runs in another thread; its methods wait until they are done there.

    Attributes:
        coreapp: The Coreapp itself, to be used in its own event loop alone.
        loop: That loop.
    """

    def __init__(self, coreapp: Coreapp, loop: asyncio.AbstractEventLoop) -> None:
        self.coreapp = coreapp
        self.loop = loop
        self.url, self.username, self.password = coreapp.url, coreapp.username, coreapp.password

    @property
    def settings(self) -> ApplicationSettings:
        """What was set and what is in force."""
        return self.coreapp.settings

    @property
    def accounts(self) -> Accounts:
        """Who may log in; ``accounts.revoke()`` makes all tokens expire."""
        return self.coreapp.accounts

    @property
    def trust(self) -> Trust:
        """The uploaded CA."""
        return self.coreapp.trust

    @property
    def troubles(self) -> Troubles:
        """Makes the API fail, for tests."""
        return self.coreapp.troubles

    @property
    def ledger(self) -> Ledger:
        """What was sent, and what became of it."""
        return self.coreapp.ledger

    @property
    def application(self) -> Json:
        """The settings, as a GET tells them."""
        return self.coreapp.application

    def restart(self) -> None:
        """Restart; see `Coreapp.restart`."""
        self._call(self.coreapp.restart)

    def submit(self, count: int = 1) -> None:
        """Send the shop's next notifications at once."""
        self._call(lambda: self.coreapp.submit(count))

    def play(self, *, rate: float, seconds: float | None = None, most: int | None = None) -> None:
        """Let traffic flow; see `Coreapp.play`."""
        self._wait(lambda: self.coreapp.play(rate=rate, seconds=seconds, most=most))

    def settle(self, *, seconds: float = 30.0) -> None:
        """Wait until everything is acknowledged or given up, but no longer than ``seconds``."""
        self._wait(lambda: self.coreapp.settle(seconds=seconds))

    def _call(self, work: Callable[[], T]) -> T:
        async def call() -> T:
            return work()

        return self._wait(call)

    def _wait(self, work: Callable[[], Awaitable[T]]) -> T:
        async def call() -> T:
            return await work()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result()


@contextmanager
def running_coreapp(**arguments: Any) -> Iterator[RunningCoreapp]:  # noqa: ANN401  # of `Coreapp`
    """Run a `Coreapp` in a thread while the block lasts.

    Args:
        **arguments: Those of `Coreapp`.

    Raises:
        RouterError: It cannot start.
    """
    started: Future[RunningCoreapp] = Future()
    leaving: Future[None] = Future()

    async def work() -> None:
        async with Coreapp(**arguments) as coreapp:
            started.set_result(RunningCoreapp(coreapp, asyncio.get_running_loop()))
            await asyncio.wrap_future(leaving)

    with ThreadPoolExecutor(1, thread_name_prefix="coreapp") as threads:
        running = threads.submit(lambda: asyncio.run(work()))
        either: tuple[Future[Any], ...] = (started, running)
        try:
            wait(either, return_when=FIRST_COMPLETED)
            if running.done():
                running.result()  # raises why it could not start
            yield started.result()
        finally:
            leaving.set_result(None)
            running.result()
