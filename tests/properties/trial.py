"""What one subscription goes through, step by step, and what must be true after each step."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import msgspec

from router.control import Control
from router.dead import DeadLetters
from router.filters import DeadFilter
from router.log import EventLog
from router.options import OnDead, Options, Order, RetryOptions, Start
from tests.entries import append_messages
from tests.properties.driver import End
from tests.properties.record import Record
from tests.properties.scripted import Ending, Kind, Scripted
from tests.properties.world import World

NAME = "crm"
FURTHER = 100  # calls, of which no event gets as many
LIVES = 80  # more than it takes to find all events that kill their processes, a few lives each

PAUSE_MICROS = 12_000_000  # in which a worker that does not heed a pause would do something


class Setting(msgspec.Struct, frozen=True):
    """What a subscription is like.

    Attributes:
        seconds: That a call of an async handler may last.
    """

    kind: Kind
    lanes: int
    concurrency: int
    attempts: int = 20
    order: Order = "subject"
    on_dead: OnDead = "release"
    seconds: float = 0.02

    def make_plugin(
        self, world: World, scripts: Mapping[int, Sequence[Ending]], *, start: Start = "beginning"
    ) -> Scripted:
        """Return a plugin that subscribes so; ``scripts`` say by position how its calls end."""
        options = Options(
            start=start,
            order=self.order,
            on_dead=self.on_dead,
            lanes=self.lanes,
            concurrency=self.concurrency,
            retry=RetryOptions(first=0.5, attempts=self.attempts, give_up_after=1e9),
            # The time of an async handler is the loop's, that of others the quick clock's.
            timeout=self.seconds if self.kind == "async" else 86_400,
            replay="allow",
        )
        return Scripted(self.kind, scripts=scripts, options=options, dawdle=world.clock.dawdle)


class Arrival(msgspec.Struct, frozen=True):
    """An event that comes.

    Attributes:
        script: How the first calls for it end.
        then: How all further ones do.
    """

    conversation: str
    script: Sequence[Ending] = ()
    then: Ending = "ok"

    def come(self, log: EventLog, scripts: dict[int, Sequence[Ending]]) -> None:
        """Append it to ``log``, and add to ``scripts`` how the calls for it end."""
        scripts[log.head() + 1] = [*self.script, *[self.then] * FURTHER]
        append_messages(log, [self.conversation])


class Command(msgspec.Struct, frozen=True):
    """What an operator does.

    Attributes:
        which: Of the dead letters, from the first on; of a skip, how far behind the head it ends.
    """

    action: Literal["pause", "resume", "redrive", "discard", "skip"]
    which: int = 0


Happening = Arrival | Command


class Trial:
    """One subscription in a world of its own.

    Attributes:
        record: What is on record of it.
    """

    def __init__(self, world: World, setting: Setting) -> None:
        self._world = world
        self._setting = setting
        self._scripts: dict[int, Sequence[Ending]] = {}
        self._plugin = setting.make_plugin(world, self._scripts)
        self.record = Record(world.log, NAME, self._plugin)
        self._control = Control(world.log.store)
        self._dead = DeadLetters(world.log.store)
        self._has_skipped = False

    def let(self, happening: Happening) -> None:
        """Let something happen."""
        if isinstance(happening, Arrival):
            happening.come(self._world.log, self._scripts)
        elif self.record.is_born():
            self._carry_out(happening)

    def live(self, *, end: End | None = None, meanwhile: Sequence[Happening] = ()) -> None:
        """Let a worker live, to its end or until all is done. It is not told what happens."""
        happenings = [partial(self.let, one) for one in meanwhile]
        self._live(end, happenings)
        self._world.bury()

    def lose_lease(self, at: int, *, meanwhile: Sequence[Happening], end: End) -> None:
        """Let a worker freeze, another take over, and the first go on without having noticed."""
        self._live(End(at, "freeze"), [partial(self.let, one) for one in meanwhile])
        self.record.check()
        self._live(end)
        self.record.check()
        self._world.thaw()

    def rest(self, *, most: int = LIVES) -> None:
        """Leave all in peace: each event is handled, dead, waits behind a dead one, or set aside.

        A worker that is killed by a handler is followed by another, ``most`` of them in all.
        """
        self.let(Command("resume"))
        lives = 1
        while self._live():
            self.record.check()
            lives += 1
            state = f"{self.record.lanes()}, {self.record.parked()}"
            assert lives <= most, f"an event that kills its process is not found: {state}"
        self.record.check()
        record, everything = self.record, set(range(1, self._world.log.head() + 1))
        dead, waiting = set(record.dead()), record.waiting()
        left = everything - record.course.done.keys() - dead - waiting - record.set_aside
        assert left == set(), f"nothing has become of {left}"
        is_held = self._setting.on_dead == "hold" and self._setting.order == "subject"
        held = record.held() if is_held else set()
        assert waiting == held or self._has_skipped, f"{waiting} wait, not {held}"

    def _live(self, end: End | None = None, meanwhile: Sequence[Callable[[], object]] = ()) -> bool:
        self.record.begin_life()
        begun = self._world.clock.micros

        def is_done() -> bool:
            if self.record.is_paused():
                is_late = self._world.clock.micros > begun + PAUSE_MICROS
                return is_late and self.record.is_let_go()
            return self.record.is_quiet()

        plugins = {NAME: self._plugin}
        return self._world.live(plugins, is_done=is_done, end=end, meanwhile=meanwhile)

    def _carry_out(self, command: Command) -> None:
        course = self.record.course
        if command.action == "pause":
            self._control.pause(NAME, actor="ana")
        elif command.action == "resume":
            course.is_paused = False
            self._control.resume(NAME, actor="ana")
        elif command.action == "skip":
            self._skip(max(0, self._world.log.head() - command.which))
        elif dead := self.record.dead():
            position = dead[command.which % len(dead)]
            if command.action == "redrive":
                self._redrive(position)
            else:
                self._discard(position)

    def _skip(self, position: int) -> None:
        everything = set(range(1, position + 1))
        self.record.set_aside |= everything - self.record.settled()
        self.record.course.over |= everything
        self._has_skipped = True
        self._control.skip(NAME, to=position, actor="ana")

    def _redrive(self, position: int) -> None:
        row = self.record.parked()[position]
        self.record.course.redrive(position, attempts=row.attempts)
        self._dead.redrive(_only(position), actor="ana")

    def _discard(self, position: int) -> None:
        if self._dead.discard(_only(position), actor="ana").total:
            self.record.set_aside.add(position)


def _only(position: int) -> DeadFilter:
    return DeadFilter(subscriptions=(NAME,), positions=(position,))
