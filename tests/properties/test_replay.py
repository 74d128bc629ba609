"""Whatever dies or is halted, a replay gives what live delivery gave, and leaves that alone."""

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from router.replay_states import CANCELLED, DONE
from tests.properties.driver import End
from tests.properties.grounds import Ground
from tests.properties.machine import HOWS, KINDS
from tests.properties.replay_record import Action
from tests.properties.replay_trial import Happening, ReplayTrial, Steering, Stretch
from tests.properties.scripted import Ending
from tests.properties.trial import FURTHER, Arrival, Setting
from tests.properties.world import make_world

TRIES = settings().max_examples
ENDINGS: list[Ending] = ["fail", "again", "late", "interrupt"]
HALTS: list[Action] = ["pause", "cancel"]

conversations = st.sampled_from("abc")
arrivals = st.builds(Arrival, conversations, st.lists(st.sampled_from(ENDINGS), max_size=2))
stubborn = st.builds(Arrival, conversations, then=st.just("fail"))
calls = st.integers(0, 3)
halts = st.builds(Steering, st.sampled_from(["pause", "pause", "resume"]), after=calls)
steering = st.builds(
    Steering, st.sampled_from(["pause", "resume", "cancel"]), st.integers(0, 1), calls
)
ends = st.builds(End, st.integers(20, 70) | st.integers(55, 140), st.sampled_from(HOWS))
settings_of_subscriptions = st.builds(
    Setting,
    kind=st.sampled_from(KINDS),
    lanes=st.integers(1, 2),
    concurrency=st.sampled_from([1, 2, 8]),
    order=st.sampled_from(["subject", "subject", "none"]),
)


def make_stretches(happenings: st.SearchStrategy[Happening]) -> st.SearchStrategy[list[Stretch]]:
    """Return stretches of time, whose workers die at some statement or are stopped."""
    stretches = st.builds(
        Stretch,
        st.lists(happenings, max_size=1),
        st.lists(happenings, max_size=4),
        ends | st.none(),
    )
    return st.sampled_from([0, 1, 1, 2]).flatmap(
        lambda count: st.lists(stretches, min_size=count, max_size=count)
    )


@settings(max_examples=TRIES // 20)
@given(
    setting=settings_of_subscriptions,
    past=st.tuples(st.lists(arrivals | stubborn, max_size=5), stubborn),
    count=st.integers(1, 2),
    stretches=make_stretches(arrivals | steering),
    halt=st.sampled_from(HALTS),
    after=calls,
)
def test_a_cancelled_replay_is_heard_of_no_more(
    ground: Ground,
    setting: Setting,
    past: tuple[list[Arrival], Arrival],
    count: int,
    stretches: list[Stretch],
    halt: Action,
    after: int,
) -> None:
    """Halted at any time, replays call nothing; cancelled, they leave nothing but live delivery."""
    setting = msgspec.structs.replace(setting, attempts=2 * FURTHER)
    arrived = [*past[0], past[1]]  # the last one would be tried again and again
    with make_world(ground) as world:
        trial = ReplayTrial(world, setting, arrived)
        for _ in range(count):
            trial.start()
        for stretch in stretches:
            trial.go_through(stretch, is_patient=False)
        trial.halt(halt, after=after)
        trial.rest(last="cancel")
        endless = {at for at, one in enumerate(arrived, start=1) if one.then == "fail"}
        for replay in trial.replays:
            found = replay.find()
            assert found.state in (CANCELLED, DONE)
            assert not replay.is_born()
            assert found.done <= len(replay.course.done) <= found.total
            assert endless.isdisjoint(replay.course.done), "halted, it went on for long"


@settings(max_examples=TRIES // 25)
@given(
    setting=settings_of_subscriptions,
    past=st.lists(arrivals, min_size=1, max_size=8),
    firsts=st.lists(st.integers(1, 3), min_size=1, max_size=2),
    rate=st.sampled_from([None, None, 1_000]),
    concurrency=st.sampled_from([None, 1, 4]),
    stretches=make_stretches(arrivals),
    late=st.lists(arrivals, min_size=1, max_size=8),
)
def test_no_subject_is_handled_twice_at_a_time(
    ground: Ground,
    setting: Setting,
    past: list[Arrival],
    firsts: list[int],
    rate: float | None,
    concurrency: int | None,
    stretches: list[Stretch],
    late: list[Arrival],
) -> None:
    """Live events and replays of one subject take turns: never are there two calls at a time."""
    with make_world(ground) as world:
        trial = ReplayTrial(world, setting, past)
        for first in firsts:
            trial.start(first=first, rate=rate, concurrency=concurrency)
        for stretch in stretches:
            trial.go_through(stretch)
        trial.rest(last="resume", meanwhile=late)
        assert {replay.find().state for replay in trial.replays} == {DONE}


@settings(max_examples=TRIES // 16)
@given(
    setting=settings_of_subscriptions,
    past=st.lists(arrivals, max_size=8),
    unread=st.lists(arrivals, max_size=3),
    stretches=make_stretches(arrivals | halts),
    late=st.lists(arrivals | halts, max_size=6),
)
def test_a_replay_gives_what_live_delivery_gave(
    ground: Ground,
    setting: Setting,
    past: list[Arrival],
    unread: list[Arrival],
    stretches: list[Stretch],
    late: list[Happening],
) -> None:
    """A replay brings a new subscription to where one that lived through it all has come.

    It may be halted and may overtake live delivery: that goes on from where it is, and misses none.
    """
    with make_world(ground) as world:
        trial = ReplayTrial(world, setting, past)
        old = trial.compare()
        for arrival in unread:
            trial.let(arrival)
        replay = trial.start()
        for stretch in stretches:
            trial.go_through(stretch)
        trial.rest(last="resume", meanwhile=late)
        found = replay.find()
        assert (found.state, found.done, found.failed) == (DONE, found.total, 0)
        assert found.total == len(past) + len(unread)
        arrange = list if setting.order == "subject" else sorted
        folded = {
            subject: arrange(one for one in positions if one < found.end)
            for subject, positions in old.fold().items()
        }
        replayed = {subject: arrange(positions) for subject, positions in replay.fold().items()}
        assert replayed == {subject: found for subject, found in folded.items() if found}
