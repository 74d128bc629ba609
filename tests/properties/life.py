"""The life of one worker: it begins, works, and ends as its driver has it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from sqlalchemy import text

from router.clock import Clock
from router.dispatcher import Dispatcher
from router.errors import Unavailable
from router.lane import LEASE_MICROS
from router.log import EventLog
from router.store import Store
from tests.properties.clock import QuickClock
from tests.properties.driver import Driver, End, Killed
from tests.properties.grounds import hurry
from tests.properties.scripted import Scripted
from tests.properties.wires import drive
from tests.waiting import until

PATIENCE = 30.0  # seconds of real time in which a worker must come to its end
BREATH = 0.004  # seconds between two things that happen to a worker
RENEW = 2_000_000  # microseconds

# What the thread of the leases would do, by a clock that is quicker than any thread.
PROLONG = text("""
UPDATE lane SET expires_at = :until
WHERE owner = (SELECT id FROM worker ORDER BY started_at DESC LIMIT 1)
""")


class Life:
    """A worker process.

    Args:
        url: Its database.
        clock: What it goes by.
        plugins: What it delivers to, by the names of their subscriptions.
        end: When and how it ends, if it does not come to the end of its work before.
        onlooker: Sees to its leases.
    """

    def __init__(
        self,
        url: str,
        *,
        clock: QuickClock,
        plugins: Mapping[str, Scripted],
        end: End | None,
        onlooker: EventLog,
    ) -> None:
        self.driver = Driver(end)
        self._clock = clock
        self._onlooker = onlooker
        self._end = end
        self._renewed_at = clock.micros
        self._store = Store(url, clock=clock.seconds)
        hurry(self._store)
        drive(self._store.engine, self.driver)
        self._dispatcher = Dispatcher(
            [plugin.live(name, self.driver) for name, plugin in plugins.items()],
            log=EventLog(self._store),
            clock=Clock(now=self._store.now, sleep=self._sleep, random=lambda: 0.5),
        )
        self._runner = asyncio.Runner()
        self._starting: asyncio.Task[None] | None = None

    def run(self, is_done: Callable[[], bool], meanwhile: Sequence[Callable[[], object]]) -> bool:
        """Work until the end, or until all is done; whether the end came first.

        What freezes has to be thawed later, or buried.

        Args:
            is_done: Whether nothing is left to do, so that it stops in good order.
            meanwhile: What happens while it works. It is not told.
        """
        try:
            self._runner.run(self._work(is_done, meanwhile))
        except BaseException:
            self.bury()
            raise
        if not self.driver.is_frozen():
            self._stop()
        else:
            with self._onlooker.store.writing():  # behind what was begun before it froze
                pass
        return self.driver.has_come

    def thaw(self) -> None:
        """Let a frozen worker go on for a while, then stop it in good order."""
        self.driver.thaw()
        self._runner.run(self._go_on())
        self._stop()

    def bury(self) -> None:
        """End it as a crash would."""
        self.driver.kill()
        self._stop()

    async def _work(
        self, is_done: Callable[[], bool], meanwhile: Sequence[Callable[[], object]]
    ) -> None:
        self._starting = asyncio.create_task(self._dispatcher.start())
        for happen in meanwhile:
            await asyncio.sleep(BREATH)
            await asyncio.to_thread(happen)
        await until(
            lambda: self.driver.has_come or (self._is_at_work() and is_done()), seconds=PATIENCE
        )

    async def _go_on(self) -> None:
        later = self._clock.micros + LEASE_MICROS

        def is_over() -> bool:
            return self._is_at_work() and (self.driver.is_dead or self._clock.micros > later)

        await until(is_over, seconds=PATIENCE)

    def _is_at_work(self) -> bool:
        if self._starting is None or not self._starting.done():
            return False
        if isinstance(error := self._starting.exception(), Unavailable):
            self.driver.kill()  # whoever cannot even start is done with
        elif error is not None:
            raise error
        return True

    def _stop(self) -> None:
        """End what runs. The dead write nothing down: only threads and tasks end here."""
        try:
            self._runner.run(self._leave())
        finally:
            self._runner.close()
            self._store.close()

    async def _leave(self) -> None:
        with suppress(Killed, Unavailable):
            if self._starting is not None:
                await self._starting
        with suppress(Killed):
            await self._dispatcher.stop()

    async def _sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        if self._clock.micros - self._renewed_at >= RENEW and not self.driver.has_come:
            self._renewed_at = self._clock.micros
            await asyncio.to_thread(self._renew)

    def _renew(self) -> None:
        with self._onlooker.store.writing() as connection:
            connection.execute(PROLONG, {"until": self._clock.micros + LEASE_MICROS})
