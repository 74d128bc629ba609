"""A state machine over the real engine: events come, handlers fail, workers die, operators act.

What Hypothesis draws must not depend on how far threads have come, which no two runs agree on. So
the rules lay down a plan, and all of it is carried out when the last rule has been.
"""

import sys
from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from router.options import OnDead
from tests.properties.driver import End, How
from tests.properties.grounds import Ground
from tests.properties.scripted import Ending, Kind
from tests.properties.trial import Arrival, Command, Happening, Setting, Trial
from tests.properties.world import make_world

ENDINGS: list[Ending] = ["fail", "fail", "again", "late", "interrupt", "ok", "reject", "die"]
AT_LAST: list[Ending] = ["ok", "ok", "ok", "ok", "ok", "fail", "die"]
KINDS: list[Kind] = ["plain", "async", "transactional"]
CRASHES: list[How] = ["crash before", "crash after"]
HOWS: list[How] = [*CRASHES, "stop", "fail before", "fail after"]
ON_DEAD: list[OnDead] = ["release", "release", "hold"]

numbers = st.integers(1, 40) | st.integers(30, 130)
ends = st.builds(End, numbers, st.sampled_from(HOWS))
arrivals = st.builds(
    Arrival,
    st.sampled_from("abc"),
    st.lists(st.sampled_from(ENDINGS), max_size=4),
    st.sampled_from(AT_LAST),
)
commands = st.builds(
    Command,
    st.sampled_from(["pause", "resume", "redrive", "redrive", "discard", "skip"]),
    st.integers(0, 4),
)
happenings = st.lists(arrivals | arrivals | commands, max_size=5)
settings_of_subscriptions = st.builds(
    Setting,
    kind=st.sampled_from(KINDS),
    lanes=st.integers(1, 2),
    concurrency=st.sampled_from([1, 2, 8]),
    attempts=st.integers(1, 3),
    order=st.sampled_from(["subject", "subject", "none"]),
    on_dead=st.sampled_from(ON_DEAD),
)


class Machine(RuleBasedStateMachine):
    """One subscription, and what happens to it."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self._ground = ground
        self._setting: Setting | None = None
        self._steps: list[Callable[[Trial], None]] = []

    @initialize(setting=settings_of_subscriptions)
    def subscribe(self, setting: Setting) -> None:
        """There is one subscription."""
        self._setting = setting

    @rule(events=st.lists(arrivals, min_size=1, max_size=6))
    def append(self, events: list[Arrival]) -> None:
        """Events come while nobody is at work, and it is settled how the calls for them end."""
        for event in events:
            self._add(Trial.let, event)

    @rule(meanwhile=happenings)
    def deliver(self, meanwhile: list[Happening]) -> None:
        """A worker lives until all is done, or a handler kills it."""
        self._add(Trial.live, meanwhile=meanwhile)

    @rule(end=ends, meanwhile=happenings)
    def die(self, end: End, meanwhile: list[Happening]) -> None:
        """A worker lives until it crashes at some statement, or is stopped."""
        self._add(Trial.live, end=end, meanwhile=meanwhile)

    @rule(at=numbers, meanwhile=happenings, end=ends)
    def lose_lease(self, at: int, meanwhile: list[Happening], end: End) -> None:
        """A worker freezes, another takes over, and the first goes on without having noticed."""
        self._add(Trial.lose_lease, at, meanwhile=meanwhile, end=end)

    @rule(command=commands)
    def operate(self, command: Command) -> None:
        """An operator acts while nobody is at work."""
        self._add(Trial.let, command)

    def teardown(self) -> None:
        """Carry out the plan, check after each step, and at last leave all in peace."""
        if self._setting is None or sys.exc_info()[0] is not None:
            return  # Hypothesis has given this plan up
        with make_world(self._ground) as world:
            trial = Trial(world, self._setting)
            for step in self._steps:
                step(trial)
                trial.record.check()
            trial.rest()

    def _add(self, step: Callable[..., None], *values: object, **others: object) -> None:
        self._steps.append(lambda trial: step(trial, *values, **others))
