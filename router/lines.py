"""Lines: the events of a subject that wait for a plain handler, called by one thread at a time."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from router.attempts import Attempts
from router.breaker import Breaker
from router.events import Event
from router.failures import Failed
from router.firsts import Firsts
from router.ledger import Ledger
from router.queues import Line
from router.slots import Slots

GATHER = 0.002  # seconds in which the loop is not told of each call that has ended
MANY = 16  # ends in that time: as long as there are as many, it goes on like that


# What has come of a call: its line; the event, None where nothing could be handed over; how it
# failed; and whether the thread has left the line.
Ended = tuple[Line, Event | None, Failed | None, bool]


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
        self._lines: dict[str, Line] = {}
        self._halted: list[Line] = []
        self._ready: deque[Line] = deque()  # that wait for a thread
        self._ended: deque[Ended] = deque()
        self._is_told = False
        self._gathering: asyncio.TimerHandle | None = None
        self._is_stopped = False
        self._underway = 0

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits or is under way."""
        return not self._lines

    @property
    def is_calling(self) -> bool:
        """Whether calls are under way that the slots do not know of."""
        return self._underway > 0

    def add(self, events: Sequence[Event]) -> None:
        """Take events."""
        fresh: list[Line] = []
        lines, find_key, tell = self._lines, self._attempts.key, self._attempts.tell
        for event in events:
            key = find_key(event)
            line = lines.get(key)
            if line is None:
                line = lines[key] = Line(key, [tell(event)])
                fresh.append(line)
            else:
                line.events.append(tell(event))
        self._begin(fresh)

    def resume(self, *, most: int | None = None) -> None:
        """Go on with what was halted."""
        halted, self._halted = self._halted[:most], self._halted[len(self._halted[:most]) :]
        for line in halted:
            line.is_probe = most is not None
        self._begin(halted)

    def stop(self) -> None:
        """Make no call any more."""
        self._is_stopped = True

    def _begin(self, lines: Sequence[Line]) -> None:
        """Let the crew take lines, each once it has its turn."""
        turns, is_limited = self._attempts.turns, self._attempts.pace.is_limited
        ready: list[Line] = []
        for line in lines:
            if self._breaker.is_open and not line.is_probe:
                self._halted.append(line)
            elif not is_limited and turns.try_take(line.key):
                ready.append(line)
            else:
                self._slots.add(partial(self._begin_in_turn, line))
        if ready:
            self._hand_over(ready)

    async def _begin_in_turn(self, line: Line) -> None:
        await self._attempts.wait_for_turn(line.key)
        self._hand_over((line,))

    def _hand_over(self, lines: Sequence[Line]) -> None:
        self._underway += len(lines)  # until then the slots know of it, or nothing has begun
        self._ready.extend(lines)
        self._caller.crew.add([self._call_next] * len(lines))
        if len(lines) > 1 and self._gathering is None:
            self._gathering = self._loop.call_later(GATHER, self._gather)

    def _call_next(self) -> None:
        """Call the handlers for the line that has waited longest, on a thread of the crew."""
        line = self._ready.popleft()
        if not self._may_call(line):
            self._put((line, None, None, True))
            return
        attempts, caller, is_over = self._attempts, self._caller, False
        while not is_over:
            line.is_probe = False
            event = line.events.pop(0)
            failed = caller.call_plain(event, attempt=1)
            caller.crew.count_one()
            # After a call, not before: two that made way for each other at once would never call.
            must_leave = failed is not None or attempts.turns.is_wanted(line.key)
            is_over = must_leave or attempts.pace.is_limited or not self._may_call(line)
            self._put((line, event, failed, is_over))

    def _may_call(self, line: Line) -> bool:
        if not line.events or self._is_stopped:
            return False
        return line.is_probe or not self._breaker.is_open

    def _put(self, ended: Ended) -> None:
        """Put down what has come of a call, and tell the loop, unless it looks soon by itself."""
        self._ended.append(ended)
        # With nothing left to begin, nobody may come by here for as long as a call takes; and the
        # breaker is to hear of a failure before much else is tried.
        may_wait = self._ready and self._gathering is not None and ended[2] is None
        if self._is_told or may_wait:
            return
        self._is_told = True
        with suppress(RuntimeError):  # the loop was closed before the handler returned
            self._loop.call_soon_threadsafe(self._read)

    def _gather(self) -> None:
        """Read what has been put down; from now on the loop is told, unless there is much of it."""
        self._gathering = None
        if self._read() >= MANY and self._ready and not self._is_stopped:
            self._gathering = self._loop.call_later(GATHER, self._gather)

    def _read(self) -> int:
        """Settle, on the loop, what has succeeded, and see to what has failed; how many calls."""
        self._is_told = False
        done: list[Event] = []
        left: list[Line] = []
        for _ in range(count := len(self._ended)):
            line, event, failed, is_over = self._ended.popleft()
            if event is not None and failed is None:
                done.append(event)
            if is_over:
                self._attempts.turns.give_back(line.key)
                if event is not None and failed is not None and not self._slots.is_cut:
                    self._slots.finish(partial(self._keep, line, event, failed))
                else:
                    left.append(line)
        self._firsts.accept_all(done)
        self._go_on(left)
        self._on_change()
        return count

    def _go_on(self, lines: Sequence[Line]) -> None:
        self._underway -= len(lines)
        for line in lines:
            if not line.events:
                del self._lines[line.key]
        if not self._is_stopped:
            self._begin([line for line in lines if line.events])

    async def _keep(self, line: Line, event: Event, failed: Failed) -> None:
        if await self._firsts.keep(event, failed):
            self._ledger.settle_all(line.events)
            line.events.clear()
        self._go_on((line,))
