"""A state machine over the real engine: events come, handlers fail, workers die, operators act."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from router.options import OnDead, Options, Order, RetryOptions
from tests.entries import append_messages
from tests.properties.driver import End
from tests.properties.record import Record
from tests.properties.scripted import Ending, Kind, Scripted
from tests.properties.world import make_world

KINDS: list[Kind] = ["plain", "async", "transactional"]
ORDERS: list[Order] = ["subject", "subject", "none"]
ON_DEAD: list[OnDead] = ["release", "release", "hold"]
ENDINGS: list[Ending] = ["fail", "fail", "again", "late", "interrupt", "ok", "reject", "die"]

ends = st.builds(
    End,
    at=st.integers(1, 30) | st.integers(20, 90),
    how=st.sampled_from(["crash before", "crash after", "stop", "freeze"]),
)
arrivals = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from(ENDINGS), max_size=4)), max_size=6
)


class Machine(RuleBasedStateMachine):
    """One subscription in a world of its own."""

    def __init__(self, empty_database: Path) -> None:
        super().__init__()
        self._stack = ExitStack()
        self._world = self._stack.enter_context(make_world(empty_database))
        self._scripts: dict[int, Sequence[Ending]] = {}
        self._is_sound = False

    @initialize(
        kind=st.sampled_from(KINDS),
        order=st.sampled_from(ORDERS),
        on_dead=st.sampled_from(ON_DEAD),
        lanes=st.integers(1, 2),
        concurrency=st.sampled_from([1, 2, 8]),
        attempts=st.integers(1, 3),
    )
    def subscribe(
        self,
        kind: Kind,
        order: Order,
        on_dead: OnDead,
        lanes: int,
        concurrency: int,
        attempts: int,
    ) -> None:
        """Make the subscription."""
        options = Options(
            start="beginning",
            order=order,
            on_dead=on_dead,
            lanes=lanes,
            concurrency=concurrency,
            retry=RetryOptions(first=0.5, attempts=attempts, give_up_after=1e9),
            # The time of an async handler is the loop's, that of others the quick clock's.
            timeout=0.02 if kind == "async" else 86_400,
        )
        clock = self._world.clock
        self._plugin = Scripted(kind, scripts=self._scripts, options=options, dawdle=clock.dawdle)
        self._record = Record(self._world.log, "crm", self._plugin)

    @rule(arrivals=arrivals)
    def append(self, arrivals: list[tuple[str, list[Ending]]]) -> None:
        """Events come, and it is settled how the calls for them will end."""
        for conversation, script in arrivals:
            self._scripts[self._world.log.head() + 1] = script
            append_messages(self._world.log, [conversation])

    @rule(end=ends, late=arrivals)
    def work(self, end: End, late: list[tuple[str, list[Ending]]]) -> None:
        """A worker lives, until it is done or comes to its end. It is not told of late events."""
        self._live(end=end, meanwhile=[partial(self.append, [one]) for one in late])

    @rule()
    def thaw(self) -> None:
        """The frozen worker goes on, and may have lost its lanes without having noticed."""
        self._world.thaw()

    @invariant()
    def holds(self) -> None:
        """Whatever has happened, what is on record may be there, and what has to be there is."""
        self._is_sound = False
        self._record.check()
        self._is_sound = True

    def rest(self) -> None:
        """In peace, each event is handled, dead, waits behind a dead one, or was set aside."""
        self._world.bury()
        self._live()
        self._record.check()
        everything = set(range(1, self._world.log.head() + 1))
        record = self._record
        dead, waiting = set(record.dead()), record.waiting()
        assert record.course.done.keys() | dead | waiting | record.set_aside == everything
        options = self._plugin.options
        is_held = options.on_dead == "hold" and options.order == "subject"
        assert waiting == (record.held() if is_held else set())

    def teardown(self) -> None:
        """Leave all in peace, unless something is broken already."""
        with self._stack:
            if self._is_sound:
                self.rest()

    def _live(
        self, *, end: End | None = None, meanwhile: Sequence[Callable[[], object]] = ()
    ) -> None:
        self._is_sound = False
        self._record.begin_life()
        plugins = {"crm": self._plugin}
        while (
            self._world.live(plugins, is_done=self._record.is_quiet, end=end, meanwhile=meanwhile)
            and end is None
        ):
            self._record.begin_life()  # killed by its handler: the next one goes on
            self._record.check()
