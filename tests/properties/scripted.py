"""A plugin that ends its calls as a script says, and notes whatever the router must never do."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Connection

from router.events import Event
from router.hookspecs import Context
from router.lanes import LIVE
from router.options import Options
from router.retry import Reject, Retry
from router.subscriptions import Subscription
from tests.subscribers import make_subscription

Kind = Literal["plain", "async", "transactional"]
Ending = Literal["ok", "fail", "again", "reject", "late", "interrupt"]

DWELL = 0.002  # seconds of a call, so that those that must not meet would
ERRORS: Mapping[Ending, Callable[[], BaseException]] = {
    "fail": lambda: ValueError("busy"),
    "again": lambda: Retry(after=0),
    "reject": lambda: Reject("nobody's"),
    "interrupt": KeyboardInterrupt,
}


class Course:
    """The calls of one run, live or a replay.

    Attributes:
        done: The events for which a call has succeeded, in the order in which the first did.
        over: The positions of those that need nothing more.
        settled: The positions that were settled on record when this life began.
        broken: What the router should not have done.
    """

    def __init__(self) -> None:
        self.done: dict[int, str] = {}
        self.over: set[int] = set()
        self.settled: set[int] = set()
        self.broken: list[str] = []
        self._retries: set[tuple[int, int]] = set()
        self._seen: dict[str, list[int]] = defaultdict(list)  # in the order of their first calls
        self._firsts: set[int] = set()  # in this life
        self._last: dict[str, int] = {}  # in this life

    def begin_life(self, settled: set[int], given_up: set[int]) -> None:
        """Note what another worker finds settled, and what its former ones gave up."""
        self.settled = settled
        self.over |= given_up
        self._firsts, self._last = set(), {}

    def check_number(self, position: int, attempt: int, *, limit: int) -> None:
        """Note a call that should not be made, or not any more."""
        self.require(position not in self.settled, f"settled on record: {position}")
        self.require(attempt <= limit, f"too many attempts: {position}")
        if attempt == 1:
            self.require(position not in self._firsts, f"two first calls: {position}")
            self._firsts.add(position)
        else:
            call = (position, attempt)
            self.require(call not in self._retries, f"an attempt made twice: {call}")
            self._retries.add(call)

    def check_order(self, event: Event) -> None:
        """Note a call that comes before its turn."""
        position, seen = event.position, self._seen[event.subject]
        self.require(position >= self._last.get(event.subject, 0), f"went back: {position}")
        self._last[event.subject] = position
        if position not in seen:
            is_next = all(one < position and one in self.over for one in seen)
            self.require(is_next, f"before its turn: {position}")
            seen.append(position)

    def require(self, holds: object, otherwise: str) -> None:
        """Note what is broken unless all ``holds``; raising would be a failure like any other."""
        if not holds:
            self.broken.append(otherwise)


class Scripted:
    """One plugin over all the lives of its workers.

    Args:
        kind: Of its handler.
        scripts: How the calls of a run for an event end, by its position; further ones succeed.
        options: Of its subscription.
        dawdle: Lets a plain call last longer than it may.

    Attributes:
        courses: Its calls, by run.
        options: Of its subscription.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        scripts: Mapping[int, Sequence[Ending]],
        options: Options,
        dawdle: Callable[[], None],
    ) -> None:
        self.courses: dict[int, Course] = defaultdict(Course)
        self._kind = kind
        self._scripts = scripts
        self.options = options
        self._dawdle = dawdle
        self._calls: Counter[tuple[int, int]] = Counter()
        self._underway: set[str] = set()

    def live(self, name: str) -> Subscription:
        """Return its subscription, for another worker."""
        self._underway = set()

        def plain(event: Event, context: Context) -> None:
            with self._calling(event, context) as ending:
                time.sleep(DWELL)
                if ending == "late":
                    self._dawdle()

        def transactional(event: Event, context: Context, connection: Connection) -> None:
            values = (context.subscription, run_of(event), event.position)
            connection.exec_driver_sql("INSERT INTO effect VALUES (?, ?, ?)", values)
            plain(event, context)

        async def asynchronous(event: Event, context: Context) -> None:
            with self._calling(event, context) as ending:
                await asyncio.sleep(DWELL)
                if ending == "late":
                    await asyncio.Event().wait()

        hooks: dict[Kind, Callable[..., object]]
        hooks = {"plain": plain, "async": asynchronous, "transactional": transactional}
        return make_subscription(name, self.options, on_event=hooks[self._kind])

    @contextmanager
    def _calling(self, event: Event, context: Context) -> Iterator[Ending]:
        course, is_ordered = self.courses[run_of(event)], self.options.order == "subject"
        key = event.subject if is_ordered else str(event.position)
        course.require(key not in self._underway, f"two calls at once: {event.position}")
        self._underway.add(key)
        limit = self.options.retry.attempts
        course.check_number(event.position, context.attempt, limit=limit)
        if is_ordered:
            course.check_order(event)
        ending = self._choose(event)
        if ending == "ok":
            course.done.setdefault(event.position, event.subject)
        if ending in ("ok", "reject") or context.attempt >= limit:
            course.over.add(event.position)
        try:
            if ending in ERRORS:
                raise ERRORS[ending]()
            yield ending
        finally:
            self._underway.discard(key)

    def _choose(self, event: Event) -> Ending:
        key = (run_of(event), event.position)
        script, at = self._scripts.get(event.position, ()), self._calls[key]
        self._calls[key] += 1
        return script[at] if at < len(script) else "ok"


def run_of(event: Event) -> int:
    """Return the run that an event is handed over by."""
    return LIVE if event.replay is None else event.replay.id
