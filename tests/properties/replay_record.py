"""What is on record of one replay, what operators make of it, and whether that may be."""

import time
from contextlib import suppress
from typing import Literal

from router.errors import RouterError
from router.replay import Replays
from router.replay_record import Replay
from router.replay_states import CANCELLED, DONE, PAUSED, PLANNED, RUNNING
from tests.properties.record import Record
from tests.properties.scripted import Scripted
from tests.properties.world import World

Action = Literal["pause", "resume", "cancel"]

HALT_MICROS = 4_000_000  # in which a worker that does not heed a halt would do something
LOOK = 0.002  # seconds between two looks for a call
LOOKS = 2_000  # so many in vain are no reason to wait for ever
LEFT = """
SELECT 'parked' FROM parked WHERE run = :run AND (state = 'retry' OR intent IS NOT NULL)
UNION ALL SELECT 'blocked' FROM blocked WHERE run = :run
UNION ALL SELECT 'intent' FROM intent WHERE run = :run
"""


class ReplayRecord(Record):
    """What is on record of one replay.

    Args:
        world: Where it is.
        started: The replay as it was when it began.
        plugin: Of its subscription.
    """

    def __init__(self, world: World, started: Replay, plugin: Scripted) -> None:
        name, after = started.subscription, started.first - 1
        super().__init__(world.log, name, plugin, run=started.id, after=after)
        self._world = world
        self._replays = Replays(world.log)
        self._halted_at: int | None = None  # as far as that was seen

    def begin_life(self) -> None:
        """Tell the plugin what may not happen again."""
        super().begin_life()
        self._halted_at = None

    def check(self) -> None:
        """Check what holds whenever nobody is at work."""
        super().check()
        if self.find().state == CANCELLED and not self.is_born():
            left = self.select(LEFT)
            assert left == [], f"still there of a cancelled replay: {left}"

    def find(self) -> Replay:
        """Return the replay as it stands."""
        return self._replays.find(self.run)

    def watch(self, calls: int) -> None:
        """Look on until it has made so many more, or makes none while nobody is at work on it."""
        wanted, looks = self.course.calls + calls, LOOKS
        while self.course.calls < wanted and self._is_carried_on() and looks:
            looks -= 1
            time.sleep(LOOK)

    def let(self, action: Action) -> None:
        """Let an operator do something to it, unless it has ended."""
        with suppress(RouterError):
            if action == "pause":
                self._replays.pause(self.run, actor="ana")
            elif action == "cancel":
                self._replays.cancel(self.run, actor="ana")
            else:
                if not self.find().is_finished:
                    self.course.is_paused = False
                self._replays.resume(self.run, actor="ana")

    def is_paused(self) -> bool:
        """Whether nothing of it is to be called."""
        return not self.is_going_on()

    def is_going_on(self) -> bool:
        """Whether it is to be carried out."""
        return self.find().state in (PLANNED, RUNNING)

    def _is_carried_on(self) -> bool:
        return self._world.is_at_work and self.is_going_on()

    def is_at_rest(self) -> bool:
        """Whether it has come to its end, or was halted and then left alone for long enough.

        From when the worker has let go of it, nothing of it may be called.
        """
        state = self.find().state
        if state == DONE:
            return True
        has_heeded = self.is_let_go() if state == PAUSED else not self.is_born()
        if self.is_going_on() or not has_heeded:
            return False
        self.course.is_paused = True
        if self._halted_at is None:
            self._halted_at = self._world.clock.micros
        return self._world.clock.micros > self._halted_at + HALT_MICROS
