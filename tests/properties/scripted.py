"""A plugin that ends its calls as a script says, whatever its handler is like."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

from sqlalchemy import Connection, text

from router.claims import LIVE
from router.context import Context
from router.events import Event
from router.options import Options
from router.retry import Reject, Retry
from router.subscriptions import Subscription
from tests.properties.course import Course
from tests.properties.driver import Driver, Killed
from tests.subscribers import make_subscription

Kind = Literal["plain", "async", "transactional"]
Ending = Literal["ok", "fail", "again", "reject", "late", "interrupt", "die"]
Scripts = Mapping[int, Sequence[Ending]]

EFFECT = text("INSERT INTO effect (subscription, run, position) VALUES (:name, :run, :at)")
DWELL = 0.002  # seconds of a call, so that those that must not meet would
ERRORS: Mapping[Ending, Callable[[], BaseException]] = {
    "fail": lambda: ValueError("busy"),
    "again": lambda: Retry(after=0),
    "reject": lambda: Reject("nobody's"),
    "interrupt": KeyboardInterrupt,
    "die": Killed,
}


class Scripted:
    """One plugin over all the lives of its workers.

    Args:
        kind: Of its handler.
        scripts: How the calls of a run for an event end, by its position; further ones succeed.
        options: Of its subscription.
        dawdle: Lets a plain call last longer than it may.

    Attributes:
        kind: Of its handler.
        options: Of its subscription.
    """

    def __init__(
        self, kind: Kind, *, scripts: Scripts, options: Options, dawdle: Callable[[], None]
    ) -> None:
        self.kind = kind
        self.options = options
        self._scripts = scripts
        self._dawdle = dawdle
        self._courses: dict[int, Course] = {}
        self._calls: Counter[tuple[int, int]] = Counter()

    def course(self, run: int = LIVE) -> Course:
        """Return the course of a run."""
        if run not in self._courses:
            self._courses[run] = Course(
                limit=self.options.retry.attempts, is_ordered=self.options.order == "subject"
            )
        return self._courses[run]

    def live(self, name: str, driver: Driver) -> Subscription:
        """Return its subscription, for another worker, whose ``driver`` knows when it is dead."""
        process = Process(self, driver)

        def plain(event: Event, context: Context) -> None:
            with process.calling(event, context) as ending:
                time.sleep(DWELL)
                if ending == "late":
                    self._dawdle()

        def transactional(event: Event, context: Context, connection: Connection) -> None:
            values = {"name": context.subscription, "run": run_of(event), "at": event.position}
            connection.execute(EFFECT, values)
            plain(event, context)

        async def asynchronous(event: Event, context: Context) -> None:
            with process.calling(event, context) as ending:
                await asyncio.sleep(DWELL)
                if ending == "late":
                    await asyncio.Event().wait()

        hooks: dict[Kind, Callable[..., object]]
        hooks = {"plain": plain, "async": asynchronous, "transactional": transactional}
        return make_subscription(name, self.options, on_event=hooks[self.kind])

    def choose(self, event: Event) -> Ending:
        """Return how the next call for ``event`` ends."""
        key = (run_of(event), event.position)
        script, at = self._scripts.get(event.position, ()), self._calls[key]
        self._calls[key] += 1
        return script[at] if at < len(script) else "ok"


class Process:
    """The plugin within one worker process."""

    def __init__(self, plugin: Scripted, driver: Driver) -> None:
        self._plugin = plugin
        self._driver = driver
        self._underway: set[str] = set()

    @contextmanager
    def calling(self, event: Event, context: Context) -> Iterator[Ending]:
        """Note a call, and end it as the script says.

        The dead call nothing. Who was frozen may call what is not its own any more, before it
        finds out: only what is on record counts then.
        """
        if self._driver.is_dead:
            raise Killed
        course = self._plugin.course(run_of(event))
        is_ordered = self._plugin.options.order == "subject"
        key = event.subject if is_ordered else str(event.position)
        if not self._driver.has_frozen:
            course.require(key not in self._underway, f"two calls at once: {event.position}")
            course.begin(event, context.attempt, is_again=self._driver.has_failed)
        self._underway.add(key)
        ending = self._plugin.choose(event)
        try:
            if ending == "die":
                self._driver.kill()
            elif ending == "ok":
                course.succeed(event)
            else:
                course.fail(event, context.attempt, is_rejected=ending == "reject")
            if ending in ERRORS:
                raise ERRORS[ending]()
            yield ending
        finally:
            self._underway.discard(key)


def run_of(event: Event) -> int:
    """Return the run that an event is handed over by."""
    return LIVE if event.replay is None else event.replay.id
