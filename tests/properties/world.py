"""A database that watches itself, a clock, and one worker after the other."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from hypothesis import event as note

from router.lane import LEASE_MICROS
from router.log import EventLog
from router.store import Store
from tests.properties.clock import QuickClock
from tests.properties.driver import End
from tests.properties.grounds import Ground, hurry
from tests.properties.life import Life
from tests.properties.scripted import Scripted
from tests.properties.wires import hang_up


class World:
    """Where workers live and die.

    Args:
        ground: What it stands on.
        url: Of its database there.

    Attributes:
        clock: What all of them go by.
        log: The log, for those who only look on.
    """

    def __init__(self, ground: Ground, url: str) -> None:
        self._ground = ground
        self.clock = QuickClock()
        self._url = url
        store = Store(url, clock=self.clock.operators_seconds)
        hurry(store)
        self.log = EventLog(store)
        self._life: Life | None = None
        self._frozen: Life | None = None

    @property
    def is_at_work(self) -> bool:
        """Whether there is a worker that has not come to its end; may be asked on any thread."""
        return self._life is not None and not self._life.driver.has_come

    def live(
        self,
        plugins: Mapping[str, Scripted],
        *,
        is_done: Callable[[], bool],
        end: End | None = None,
        meanwhile: Sequence[Callable[[], object]] = (),
    ) -> bool:
        """Let a worker live; whether it ended before all was done.

        Args:
            plugins: What it delivers to, by the names of their subscriptions.
            is_done: Whether nothing is left to do, so that it stops in good order.
            end: When and how it ends otherwise.
            meanwhile: What happens while it works. It is not told.
        """
        self.clock.advance(LEASE_MICROS / 1_000_000 + 1)  # what the last one held is free by now
        life = Life(self._url, clock=self.clock, plugins=plugins, end=end, onlooker=self.log)
        self._life = life
        has_come = life.run(is_done, meanwhile)
        self._life = None
        if life.driver.statement and end is not None:
            note(f"{end.how}: {life.driver.statement}")
        if life.driver.has_frozen:
            self.bury()
            self._frozen = life
        else:
            self._wait_until_gone(life)
        return has_come

    def thaw(self) -> None:
        """Let the frozen worker, if there is one, find out what has become of its lanes."""
        life, self._frozen = self._frozen, None
        if life is not None:
            note("thawed")
            life.thaw()
            self._wait_until_gone(life)

    def bury(self) -> None:
        """Let the frozen worker, if there is one, die without having been thawed."""
        life, self._frozen = self._frozen, None
        if life is not None:
            life.bury()
            self._wait_until_gone(life)

    def close(self) -> None:
        """Let go of the database."""
        self.bury()
        self.log.store.close()

    def _wait_until_gone(self, life: Life) -> None:
        self._ground.wait_until_gone(hang_up(life.driver))


@contextmanager
def make_world(ground: Ground) -> Iterator[World]:
    """Make a world whose database watches itself."""
    with ground.laid() as url:
        world = World(ground, url)
        try:
            yield world
        finally:
            world.close()
