"""Two workers share the lanes of a subscription: whatever becomes of them, effects are had once."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.entries import append_messages
from tests.owners import lanes_of
from tests.properties.driver import End, How
from tests.properties.grounds import Ground
from tests.properties.pair import Pair
from tests.records import read_parked

TRIES = settings().max_examples

HOWS: list[How] = ["crash before", "crash after", "freeze", "freeze", "fail before", "fail after"]


class Step(msgspec.Struct, frozen=True):
    """What happens, and for how many seconds nothing else does.

    Attributes:
        come: The conversations of events that come.
        which: Of the two workers.
        end: What becomes of it, counted from then on.
        seconds: By the clock.
    """

    come: str
    which: int
    end: End | None
    seconds: int


steps = st.builds(
    Step,
    come=st.text("abcdef", max_size=6),
    which=st.integers(0, 1),
    end=st.none() | st.builds(End, st.integers(1, 40), st.sampled_from(HOWS)),
    seconds=st.integers(0, 4) | st.integers(6, 20),
)


async def go_through(pair: Pair, plan: Sequence[Step]) -> None:
    """Let all of it happen, and at last come to rest."""
    await pair.start()
    try:
        for step in plan:
            append_messages(pair.log, step.come)
            if step.end is not None:
                pair.harm(step.which, step.end)
            await pair.pass_time(step.seconds)
            assert pair.broken() == []
        await pair.rest()
        check(pair)
    finally:
        await pair.stop()


def check(pair: Pair) -> None:
    """Each event has had its effect once, in the order of its subject, and nothing went back.

    But for those that are dead: two owners of a lane fell silent, and the next one did while
    nothing else ran in it.
    """
    assert pair.broken() == []
    effects = pair.effects()
    assert len(effects) == len(set(effects)), f"an effect is there twice: {effects}"
    dead = read_parked(pair.log.store)
    assert {row.state for row in dead.values()} <= {"dead"}
    assert set(effects).isdisjoint(dead)
    assert set(effects) | dead.keys() == set(range(1, pair.log.head() + 1))
    of_subject: dict[str, list[int]] = defaultdict(list)
    subjects = {event.position: event.subject for event in pair.log.read()}
    for position in effects:
        of_subject[subjects[position]].append(position)
    assert all(found == sorted(found) for found in of_subject.values())
    ranges = [(first, last) for first, last, _, _ in lanes_of(pair.log.store)]
    ends = [-1, *(last for _, last in ranges)]
    assert [first - 1 for first, _ in ranges] == ends[:-1], "lanes do not tile the shards"
    assert ends[-1] == 1023


@settings(max_examples=TRIES // 10)
@given(
    lanes=st.integers(2, 5),
    failing=st.lists(st.integers(1, 20), max_size=3),
    plan=st.lists(steps, min_size=1, max_size=5),
)
def test_effects_are_had_once(
    ground: Ground, lanes: int, failing: list[int], plan: list[Step]
) -> None:
    """Invariants 4 to 8 hold with two workers, and in the end each has its share of the lanes."""
    with ground.laid() as url:
        asyncio.run(go_through(Pair(ground, url, lanes=lanes, failing=failing), plan))
