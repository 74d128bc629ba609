"""A subscription that came late, the replays of what it has missed, and what happens meanwhile."""

from collections.abc import Sequence
from functools import partial

import msgspec

from router.filters import Filter
from router.replay import Replays
from tests.properties.driver import End
from tests.properties.record import Record
from tests.properties.replay_record import Action, ReplayRecord
from tests.properties.scripted import Ending
from tests.properties.trial import Arrival, Setting
from tests.properties.world import World

LATE, EARLY = "late", "early"


class Steering(msgspec.Struct, frozen=True):
    """What an operator does to a replay.

    Attributes:
        which: Of them all, in the order in which they were started.
        after: How many calls more the replay makes before, if a worker is at work on it.
    """

    action: Action
    which: int = 0
    after: int = 0


Happening = Arrival | Steering


class Stretch(msgspec.Struct, frozen=True):
    """A time that ends with a worker's life.

    Attributes:
        before: What happens while nobody is at work.
        meanwhile: What happens, untold, while the worker is.
        end: How the worker ends, if it does not come to the end of its work before.
    """

    before: Sequence[Happening] = ()
    meanwhile: Sequence[Happening] = ()
    end: End | None = None


class ReplayTrial:
    """A subscription that came late, in a world of its own.

    Args:
        past: The events that came before it did.

    Attributes:
        live: What is on record of its live delivery.
        replays: What is on record of its replays, in the order in which they were started.
    """

    def __init__(self, world: World, setting: Setting, past: Sequence[Arrival]) -> None:
        self._world = world
        self._setting = setting
        self._scripts: dict[int, Sequence[Ending]] = {}
        self._plugin = setting.make_plugin(world, self._scripts, start="now")
        self._replays = Replays(world.log)
        self._others: list[Record] = []
        self.replays: list[ReplayRecord] = []
        for arrival in past:
            self.let(arrival)
        world.live({LATE: self._plugin}, is_done=lambda: True)
        self.live = Record(world.log, LATE, self._plugin, after=len(past))
        self._missed = len(past)

    def compare(self) -> Record:
        """Let there be a subscription that gets all from the beginning; what is on record of it."""
        plugin = self._setting.make_plugin(self._world, self._scripts)
        self._others.append(Record(self._world.log, EARLY, plugin))
        return self._others[-1]

    def start(
        self, *, first: int = 1, rate: float | None = None, concurrency: int | None = None
    ) -> ReplayRecord:
        """Start a replay of all that has come from ``first`` on."""
        plan = self._replays.plan(LATE, first=first, matching=Filter())
        started = self._replays.start(plan, reason="", by="ana", rate=rate, concurrency=concurrency)
        self.replays.append(ReplayRecord(self._world, started, self._plugin))
        return self.replays[-1]

    def let(self, happening: Happening) -> None:
        """Let something happen."""
        if isinstance(happening, Arrival):
            happening.come(self._world.log, self._scripts)
        else:
            replay = self.replays[happening.which % len(self.replays)]
            replay.watch(happening.after)
            replay.let(happening.action)

    def go_through(self, stretch: Stretch, *, is_patient: bool = True) -> None:
        """Let a worker live, and check what is on record when nobody is at work any more.

        Args:
            stretch: What happens.
            is_patient: Whether it works until the replays have come to their end, too, as far as
                they are not halted.
        """
        for happening in stretch.before:
            self.let(happening)
        live = [self.live, *self._others]
        records = [*live, *self.replays]
        for record in records:
            record.begin_life()

        def is_done() -> bool:
            is_over = (
                one.is_at_rest() or (one.is_going_on() and not is_patient) for one in self.replays
            )
            is_quiet = all(record.is_quiet() for record in live) and all(is_over)
            return is_quiet or any(record.broken() for record in records)

        self._world.live(
            {record.name: record.plugin for record in live},
            is_done=is_done,
            end=stretch.end,
            meanwhile=[partial(self.let, happening) for happening in stretch.meanwhile],
        )
        for record in records:
            record.check()

    def halt(self, action: Action, *, after: int) -> None:
        """Let all replays be halted at work, when each has made so many calls more, and see it."""
        self.go_through(Stretch(meanwhile=self._steer(action, after=after)), is_patient=False)

    def rest(self, *, last: Action, meanwhile: Sequence[Happening] = ()) -> None:
        """Let all come to its end.

        Args:
            last: What becomes of each replay that has not ended.
            meanwhile: What happens before that while the last worker is at work.
        """
        self.go_through(Stretch(meanwhile=[*meanwhile, *self._steer(last)]))
        came = set(range(self._missed + 1, self._world.log.head() + 1))
        assert self.live.course.done.keys() == came, "live delivery is not what it would have been"

    def _steer(self, action: Action, *, after: int = 0) -> list[Steering]:
        return [Steering(action, which, after) for which in range(len(self.replays))]
