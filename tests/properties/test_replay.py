"""Whatever dies on the way, a replay gives what live delivery gave."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from router.filters import Filter
from router.replay import Replays
from router.replay_states import DONE
from tests.entries import append_messages
from tests.properties.driver import End
from tests.properties.machine import KINDS, ends
from tests.properties.record import Record
from tests.properties.scripted import Ending
from tests.properties.trial import Setting
from tests.properties.world import World, make_world


class Plan(msgspec.Struct, frozen=True):
    """What two subscriptions go through.

    Attributes:
        scripts: How the calls for each event end.
        chunks: The conversations of the events that come before each worker.
        ends: How each worker but the last ends.
        late: The conversations of the events that come while the last one is at work.
    """

    setting: Setting
    scripts: list[list[Ending]]
    chunks: list[list[str]]
    ends: list[End]
    late: list[str]


ENDINGS: list[Ending] = ["fail", "again", "late", "interrupt"]
conversations = st.lists(st.sampled_from("abc"), max_size=8)
plans = st.sampled_from([1, 2, 3, 3]).flatmap(
    lambda lives: st.builds(
        Plan,
        setting=st.builds(
            Setting,
            kind=st.sampled_from(KINDS),
            lanes=st.integers(1, 2),
            concurrency=st.sampled_from([1, 2, 8]),
            order=st.sampled_from(["subject", "subject", "none"]),
        ),
        scripts=st.lists(st.lists(st.sampled_from(ENDINGS), max_size=2), max_size=12),
        chunks=st.lists(conversations, min_size=lives, max_size=lives),
        ends=st.lists(ends, min_size=lives - 1, max_size=lives - 1),
        late=conversations,
    )
)


def live_through(
    plan: Plan, world: World, records: Sequence[Record], *, is_quiet: Callable[[], bool]
) -> None:
    """Let worker after worker live and die; the last one lives until all is quiet."""
    plugins = {record.name: record.plugin for record in records}
    for chunk, end in zip(plan.chunks, [*plan.ends, None], strict=True):
        append_messages(world.log, chunk)
        for record in records:
            record.begin_life()
        late = [] if end else [partial(append_messages, world.log, [one]) for one in plan.late]
        world.live(plugins, is_done=is_quiet, end=end, meanwhile=late)
        for record in records:
            record.check()


@settings(max_examples=settings().max_examples // 8)
@given(plan=plans, past=conversations)
def test_a_replay_gives_what_live_delivery_gave(
    empty_database: Path, plan: Plan, past: list[str]
) -> None:
    """A replay brings a new subscription to where one that lived through it all has come."""
    scripts = dict(enumerate(plan.scripts, start=1))
    with make_world(empty_database) as world:
        append_messages(world.log, past)
        new_plugin = plan.setting.make_plugin(world, scripts, start="now")
        world.live({"new": new_plugin}, is_done=lambda: True)
        replays = Replays(world.log)
        replay = replays.start(replays.plan("new", matching=Filter()), reason="", by="")
        old = Record(world.log, "old", plan.setting.make_plugin(world, scripts))
        new = Record(world.log, "new", new_plugin, after=len(past))
        again = Record(world.log, "new", new_plugin, run=replay.id)

        def is_quiet() -> bool:
            is_live = old.is_quiet() and new.is_quiet()
            return is_live and replays.find(replay.id).state == DONE

        live_through(plan, world, [old, new, again], is_quiet=is_quiet)
        found = replays.find(replay.id)
        assert (found.done, found.failed) == (found.total, 0) == (len(past), 0)
        arrange = list if plan.setting.order == "subject" else sorted
        folded = {
            subject: arrange(one for one in positions if one <= len(past))
            for subject, positions in old.fold().items()
        }
        replayed = {subject: arrange(positions) for subject, positions in again.fold().items()}
        assert replayed == {subject: found for subject, found in folded.items() if found}
        assert min(new.course.done, default=len(past) + 1) > len(past)
