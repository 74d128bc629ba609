"""However handlers fail and workers die: nothing is lost, doubled on record, or out of order."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec
from hypothesis import event as note
from hypothesis import given, settings
from hypothesis import strategies as st

from router.filters import Filter
from router.options import OnDead, Options, Order, RetryOptions, Start
from router.replay import DONE, Replays
from tests.entries import append_messages
from tests.properties.crashes import End, World, make_world
from tests.properties.record import Record
from tests.properties.scripted import Ending, Kind, Scripted


class Plan(msgspec.Struct, frozen=True):
    """What happens to a subscription.

    Attributes:
        scripts: How the calls for each event end.
        chunks: The conversations of the events that come before each worker.
        ends: How each worker but the last ends.
        late: The conversations of the events that come while the last one is at work.
    """

    kind: Kind
    scripts: list[list[Ending]]
    chunks: list[list[str]]
    ends: list[End]
    late: list[str]
    lanes: int
    concurrency: int
    attempts: int = 20
    order: Order = "subject"
    on_dead: OnDead = "release"

    def make_plugin(self, world: World, *, start: Start = "beginning") -> Scripted:
        """Return the subscription's plugin."""
        options = Options(
            start=start,
            order=self.order,
            on_dead=self.on_dead,
            lanes=self.lanes,
            concurrency=self.concurrency,
            retry=RetryOptions(first=0.5, attempts=self.attempts, give_up_after=1e9),
            # The time of an async handler is the loop's, that of others the quick clock's.
            timeout=0.02 if self.kind == "async" else 86_400,
            replay="allow",
        )
        scripts = dict(enumerate(self.scripts, start=1))
        return Scripted(self.kind, scripts=scripts, options=options, dawdle=world.dawdle)


KINDS: list[Kind] = ["plain", "async", "transactional"]
conversations = st.lists(st.sampled_from("abc"), max_size=8)


def plans(
    endings: list[Ending], *, calls: int, commits: int, **others: st.SearchStrategy[object]
) -> st.SearchStrategy[Plan]:
    """Return plans in which so many ``calls`` for an event end in one of these ways.

    Workers end within so many ``commits``.
    """
    ends = st.builds(End, at=st.integers(1, commits), is_sudden=st.booleans())
    scripts = st.lists(st.lists(st.sampled_from(endings), max_size=calls), max_size=12)
    return st.sampled_from([1, 2, 3, 3]).flatmap(
        lambda lives: st.builds(
            Plan,
            kind=st.sampled_from(KINDS),
            scripts=scripts,
            chunks=st.lists(conversations, min_size=lives, max_size=lives),
            ends=st.lists(ends, min_size=lives - 1, max_size=lives - 1),
            late=conversations,
            lanes=st.integers(1, 2),
            concurrency=st.sampled_from([1, 2, 8]),
            **others,
        )
    )


def live_through(
    plan: Plan,
    world: World,
    plugins: Mapping[str, Scripted],
    records: Sequence[Record],
    *,
    is_quiet: Callable[[], bool],
) -> None:
    """Let worker after worker live and die; the last one lives until all is quiet."""
    for chunk, end in zip(plan.chunks, [*plan.ends, None], strict=True):
        append_messages(world.log, chunk)
        for record in records:
            record.begin_life()
        subscriptions = [plugin.live(name) for name, plugin in plugins.items()]
        late = () if end else plan.late
        if world.live(subscriptions, is_done=is_quiet, end=end, late=late) and end:
            note(f"a worker ended {'suddenly' if end.is_sudden else 'gently'}")
        for record in records:
            record.check()


ORDERS = st.sampled_from(["subject", "subject", "none"])
FAILURES: list[Ending] = ["fail", "fail", "again", "late", "interrupt", "ok", "reject"]


@settings(max_examples=settings().max_examples // 2)
@given(
    plan=plans(
        FAILURES,
        calls=4,
        commits=20,
        attempts=st.integers(1, 3),
        order=ORDERS,
        on_dead=st.sampled_from(["release", "release", "hold"]),
    )
)
def test_whatever_fails_each_event_is_dealt_with(empty_database: Path, plan: Plan) -> None:
    """Each event is handled, dead or waits on record, in its order; effects are there once."""
    with make_world(empty_database) as world:
        plugin = plan.make_plugin(world)
        record = Record(world.log, "crm", plugin)
        live_through(plan, world, {"crm": plugin}, [record], is_quiet=record.is_quiet)
        everything = set(range(1, world.log.head() + 1))
        dead, waiting = set(record.parked()), record.waiting()
        assert record.course.done.keys() | dead | waiting == everything
        is_held = plan.on_dead == "hold" and plan.order == "subject"
        assert waiting == (record.held() if is_held else set())
        if plan.kind == "transactional":
            assert sorted(record.effects()) == sorted(everything - dead - waiting)


@settings(max_examples=settings().max_examples // 4)
@given(
    kind=st.sampled_from(KINDS),
    failures=st.sampled_from([1, 2, 9]),
    behind=st.integers(0, 3),
    at=st.integers(4, 14),
)
def test_a_worker_may_die_over_a_failing_event(
    empty_database: Path, kind: Kind, failures: int, behind: int, at: int
) -> None:
    """Whenever a worker dies over an event that fails, no attempt at it or behind it is lost."""
    plan = Plan(
        kind=kind,
        scripts=[["fail"] * failures],
        chunks=[["a"] * (1 + behind), []],
        ends=[End(at, is_sudden=True)],
        late=["a"],
        lanes=1,
        concurrency=1,
        attempts=3,
    )
    with make_world(empty_database) as world:
        plugin = plan.make_plugin(world)
        record = Record(world.log, "crm", plugin)
        live_through(plan, world, {"crm": plugin}, [record], is_quiet=record.is_quiet)
        dead = [(at, row.attempts) for at, row in record.parked().items()]
        assert dead in ([], [(1, 3)])
        assert dead or failures < 3
        assert record.course.done.keys() | {1} == set(range(1, 3 + behind))
        if kind == "transactional":
            assert record.effects() == list(range(2 if dead else 1, 3 + behind))


@settings(max_examples=settings().max_examples // 4)
@given(
    plan=plans(["fail", "again", "late", "interrupt"], calls=2, commits=40, order=ORDERS),
    past=conversations,
)
def test_a_replay_gives_what_live_delivery_gave(
    empty_database: Path, plan: Plan, past: list[str]
) -> None:
    """A replay brings a new subscription to where one that lived through it all has come."""
    with make_world(empty_database) as world:
        append_messages(world.log, past)
        plugins = {"old": plan.make_plugin(world), "new": plan.make_plugin(world, start="now")}
        world.live([plugins["new"].live("new")], is_done=lambda: True)
        replays = Replays(world.log)
        replay = replays.start(replays.plan("new", matching=Filter()), reason="", by="")
        old, new = (Record(world.log, name, plugin) for name, plugin in plugins.items())
        again = Record(world.log, "new", plugins["new"], run=replay.id)

        def is_quiet() -> bool:
            is_live = old.is_quiet() and new.is_quiet()
            return is_live and replays.find(replay.id).state == DONE

        live_through(plan, world, plugins, [old, new, again], is_quiet=is_quiet)
        found = replays.find(replay.id)
        assert (found.done, found.failed) == (found.total, 0) == (len(past), 0)
        arrange = list if plan.order == "subject" else sorted
        folded = {
            subject: arrange(one for one in positions if one <= len(past))
            for subject, positions in old.fold().items()
        }
        replayed = {subject: arrange(positions) for subject, positions in again.fold().items()}
        assert replayed == {subject: found for subject, found in folded.items() if found}
        assert min(new.course.done, default=len(past) + 1) > len(past)
