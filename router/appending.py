"""What a process runs that takes notifications: it appends them, tells of them, forgets keys."""

from collections.abc import Callable, Sequence

from router.events import Event
from router.log import EventLog
from router.periodic import Periodic
from router.wakeups import Announcer
from router.writer import Writer

FORGET_SECONDS = 60.0  # between two looks for what the dedupe memory may forget


class Appending:
    """The threads beside a receiver: `start` them, later `stop` them.

    Args:
        log: Where notifications go.
        on_append: Called on a thread, after they are committed, with the events that are new.

    Attributes:
        writer: Takes what is to be appended.
    """

    def __init__(self, log: EventLog, *, on_append: Callable[[Sequence[Event]], None]) -> None:
        self.writer = Writer(log, on_append=self._tell)
        self._on_append = on_append
        self._announcer = Announcer(log.store)
        self._forgetting = Periodic(log.dedupe.rotate, seconds=FORGET_SECONDS, name="router-dedupe")

    def start(self) -> None:
        """Take notifications from now on."""
        self._announcer.start()
        self.writer.start()
        self._forgetting.start()

    def stop(self) -> None:
        """Append and announce what waits, and end."""
        self._forgetting.stop()
        self.writer.stop()
        self._announcer.stop()

    def _tell(self, events: Sequence[Event]) -> None:
        self._on_append(events)
        self._announcer.ring()
