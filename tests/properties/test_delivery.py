"""However handlers fail and workers die: nothing is lost, doubled on record, or out of order."""

from functools import partial
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from router.options import OnDead
from tests.properties.driver import End
from tests.properties.grounds import Ground
from tests.properties.machine import CRASHES, HOWS, KINDS, ON_DEAD, Machine, arrivals, commands
from tests.properties.scripted import Kind
from tests.properties.trial import Arrival, Command, Setting, Trial
from tests.properties.world import make_world

TRIES = settings().max_examples

# A worker claims its lanes with about its 27th statement, and settles nothing before the 40th.


@settings(max_examples=TRIES // 10)
@given(
    kind=st.sampled_from(KINDS),
    failures=st.sampled_from([1, 2, 9]),
    behind=st.integers(0, 3),
    end=st.builds(End, st.integers(27, 90), st.sampled_from(HOWS)),
)
def test_a_worker_may_die_over_a_failing_event(
    ground: Ground, kind: Kind, failures: int, behind: int, end: End
) -> None:
    """Whenever a worker dies over an event that fails, no attempt at it or behind it is lost."""
    setting = Setting(kind, lanes=1, concurrency=1, attempts=3)
    with make_world(ground) as world:
        trial = Trial(world, setting)
        trial.let(Arrival("a", ["fail"] * failures))
        for _ in range(behind):
            trial.let(Arrival("a"))
        trial.live(end=end)
        trial.record.check()
        trial.let(Arrival("a"))
        trial.rest()
        dead = [(at, row.attempts) for at, row in trial.record.parked().items()]
        assert dead in ([], [(1, 3)])
        assert dead or failures < 3


@settings(max_examples=TRIES // 20)
@given(
    kind=st.sampled_from(KINDS),
    others=st.lists(st.sampled_from("ab"), min_size=1, max_size=6),
    at=st.integers(0, 6),
    lanes=st.integers(1, 2),
    concurrency=st.sampled_from([1, 4]),
)
def test_what_kills_its_process_is_set_aside(
    ground: Ground, kind: Kind, others: list[str], at: int, lanes: int, concurrency: int
) -> None:
    """An event that kills each process it is handed to is found, and blames no other."""
    setting = Setting(kind, lanes=lanes, concurrency=concurrency)
    arrivals = [Arrival(one) for one in others]
    arrivals.insert(at, Arrival("a", then="die"))
    with make_world(ground) as world:
        trial = Trial(world, setting)
        for arrival in arrivals:
            trial.let(arrival)
        trial.rest(most=8)
        assert trial.record.dead() == [1 + min(at, len(others))]


@settings(max_examples=TRIES // 16)
@given(
    slow=st.integers(1, 3),
    quick=st.integers(1, 6),
    end=st.builds(End, st.integers(50, 90), st.sampled_from(CRASHES)),
)
def test_what_is_done_ahead_stays_done(ground: Ground, slow: int, quick: int, end: End) -> None:
    """What was settled before an earlier event was is not handled again by the next owner."""
    setting = Setting("async", lanes=1, concurrency=9, seconds=0.1)
    with make_world(ground) as world:
        trial = Trial(world, setting)
        for number in range(slow):
            trial.let(Arrival(f"slow {number}", ["late"]))
        for number in range(quick):
            trial.let(Arrival(f"quick {number}"))
        trial.live(end=end)
        trial.record.check()
        trial.rest()


@settings(max_examples=TRIES // 16)
@given(
    kind=st.sampled_from(KINDS),
    events=st.lists(arrivals, min_size=2, max_size=8),
    at=st.integers(27, 75),
    end=st.sampled_from([End(500, "stop"), End(45, "crash after")]),
)
def test_a_lease_may_be_lost(
    ground: Ground, kind: Kind, events: list[Arrival], at: int, end: End
) -> None:
    """Who goes on with a lane that another has taken over, without knowing, leaves no trace."""
    setting = Setting(kind, lanes=1, concurrency=2, attempts=3)
    with make_world(ground) as world:
        trial = Trial(world, setting)
        for event in events:
            trial.let(event)
        trial.lose_lease(at, meanwhile=[], end=end)
        trial.record.check()
        trial.rest()


@settings(max_examples=TRIES // 16)
@given(
    kind=st.sampled_from(KINDS),
    failures=st.lists(st.sampled_from([2, 3, 4, 1, 5]), min_size=2, max_size=4),
    first=st.lists(commands, min_size=1, max_size=3),
    second=st.lists(commands, min_size=1, max_size=3),
    on_dead=st.sampled_from(ON_DEAD),
)
def test_operators_may_act_at_any_time(
    ground: Ground,
    kind: Kind,
    failures: list[int],
    first: list[Command],
    second: list[Command],
    on_dead: OnDead,
) -> None:
    """What is paused is left alone, and dead letters are dealt with as asked, and once."""
    setting = Setting(kind, lanes=1, concurrency=2, attempts=2, on_dead=on_dead)
    with make_world(ground) as world:
        trial = Trial(world, setting)
        for conversation, count in zip("abca", failures, strict=False):
            trial.let(Arrival(conversation, ["fail"] * count))
        trial.live(meanwhile=second)
        trial.record.check()
        for command in first:
            trial.let(command)
        trial.live(meanwhile=[Arrival("a"), *second])
        trial.record.check()
        trial.live()
        trial.record.check()
        trial.rest()


def test_delivery(ground: Ground) -> None:
    """Invariants 4 to 9, 11 and 13 hold, whatever fails, dies, is lost or done by operators."""
    run_state_machine_as_test(
        cast("type[Machine]", partial(Machine, ground)),
        settings=settings(max_examples=round(TRIES // 5 * ground.EFFORT), stateful_step_count=6),
    )
