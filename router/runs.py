"""Runs: the events of a subject that wait for a plain handler, called by one thread at a time."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from router.attempts import Attempts
from router.breaker import Breaker
from router.events import Event
from router.firsts import Firsts
from router.ledger import Ledger
from router.queues import settle_all
from router.slots import Slots
from router.subscriptions import Failed


class Run:
    """The events of one key that wait, and whether the first is tried though nothing new is."""

    __slots__ = ("events", "failure", "is_probe", "key")

    def __init__(self, key: str, event: Event) -> None:
        self.key = key
        self.events = deque((event,))
        self.is_probe = False
        self.failure: tuple[Event, Failed] | None = None  # what ended it


class PlainQueue:
    """The queue of a plugin with plain handlers: a crew's threads take key after key.

    A thread goes on with the events of its key until there are none or one fails, and puts down
    what came of each; the loop reads that when it gets to it, much of it at a time.
    """

    def __init__(
        self,
        *,
        attempts: Attempts,
        firsts: Firsts,
        slots: Slots,
        ledger: Ledger,
        breaker: Breaker,
        on_change: Callable[[], None],
    ) -> None:
        self._attempts = attempts
        self._firsts = firsts
        self._slots = slots
        self._ledger = ledger
        self._breaker = breaker
        self._on_change = on_change
        self._caller = attempts.caller
        self._loop = asyncio.get_running_loop()
        self._runs: dict[str, Run] = {}
        self._halted: list[Run] = []
        self._ended: deque[tuple[Run, Event | None, Failed | None]] = deque()
        self._is_told = False
        self._is_stopped = False
        self._underway = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self._runs

    @property
    def is_calling(self) -> bool:
        """Whether calls are under way that the slots do not know of."""
        return self._underway > 0

    def add(self, event: Event) -> None:
        """Take an event."""
        key = self._attempts.key(event)
        run = self._runs.get(key)
        if run is None:
            run = self._runs[key] = Run(key, self._attempts.tell(event))
            self._begin(run)
        else:
            run.events.append(self._attempts.tell(event))

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what was halted."""
        halted, self._halted = self._halted[:most], self._halted[len(self._halted[:most]) :]
        for run in halted:
            run.is_probe = most is not None
            self._begin(run)

    def stop(self) -> None:
        """Make no call any more."""
        self._is_stopped = True

    def _begin(self, run: Run) -> None:
        """Let the crew take a run, once it has its turn."""
        if self._breaker.is_open and not run.is_probe:
            self._halted.append(run)
            return
        if not self._attempts.pace.is_limited and self._attempts.turns.try_take(run.key):
            self._hand_over(run)
        else:
            self._slots.add(partial(self._begin_in_turn, run))

    async def _begin_in_turn(self, run: Run) -> None:
        await self._attempts.wait_for_turn(run.key)
        self._hand_over(run)

    def _hand_over(self, run: Run) -> None:
        self._underway += 1  # until then the slots know of it, or nothing has begun
        self._caller.crew.add(partial(self._call, run))

    def _call(self, run: Run) -> None:
        """Call the handlers, on a thread of the crew."""
        while run.events and self._may_call(run):
            run.is_probe = False
            event = run.events.popleft()
            failed = self._caller.call_plain(event, attempt=1)
            self._caller.crew.count_one()
            self._put((run, event, failed))
            if failed is not None or self._attempts.pace.is_limited:
                break
        self._put((run, None, None))

    def _may_call(self, run: Run) -> bool:
        if self._is_stopped or (self._breaker.is_open and not run.is_probe):
            return False
        return not self._attempts.turns.is_wanted(run.key)

    def _put(self, ended: tuple[Run, Event | None, Failed | None]) -> None:
        self._ended.append(ended)
        if not self._is_told:
            self._is_told = True
            with suppress(RuntimeError):  # the loop was closed before the handler returned
                self._loop.call_soon_threadsafe(self._read)

    def _read(self) -> None:
        """Settle, on the loop, what has succeeded, and see to what has failed."""
        self._is_told = False
        done = 0
        while self._ended:
            run, event, failed = self._ended.popleft()
            if event is None:
                self._attempts.turns.give_back(run.key)
                self._go_on(run)
            elif failed is not None:
                run.failure = event, failed
            else:
                self._ledger.settle(event.position)
                done += 1
        if done:
            self._ledger.count("done", done)
            self._breaker.succeed(done)
        self._on_change()

    def _go_on(self, run: Run) -> None:
        if run.failure is not None and not self._slots.is_cut:
            self._slots.finish(partial(self._keep, run, *run.failure))
            run.failure = None
            return
        self._underway -= 1
        if not run.events:
            del self._runs[run.key]
        elif not self._is_stopped:
            self._begin(run)

    async def _keep(self, run: Run, event: Event, failed: Failed) -> None:
        if await self._firsts.keep(event, failed):
            settle_all(run.events, self._ledger)
            run.events.clear()
        self._go_on(run)
