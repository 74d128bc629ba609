"""Tests of `router.control`: what an operator does to a subscription."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, delete, func, insert, select, update

from router.control import Control
from router.errors import RouterError, UnknownName
from router.lane import Lane, LeaseLost
from router.lanes import Lanes
from router.log import EventLog
from router.parking import Parking
from router.progress import dump_ranges
from router.replay import Replays
from router.replay_runs import ReplayRuns
from router.status import Status
from router.store import Store
from router.tiling import cut
from tests.entries import append_messages
from tests.histories import park, settle, start_replay, subscribe
from tests.records import count_attempts, read_blocked, read_lanes, read_parked

SUBJECTS = [f"subject {number}" for number in range(20)]
EVENTS = 40
END = 31  # the position behind the last of the replay
RUNS = (0, 7)


@pytest.fixture
def control(store: Store) -> Control:
    """What is tested."""
    return Control(store)


def free(log: EventLog, name: str = "crm", *, lanes: int = 1) -> list[Lane]:
    """Bring a subscription into being that nobody runs, and return its lanes as they were run."""
    claimed = subscribe(log, name, lanes=lanes)
    for lane in claimed:
        Lanes(log.store, worker="w").release(lane)
    return claimed


def state_of(log: EventLog, name: str = "crm") -> tuple[str, str | None]:
    """Return the state of a subscription, and why it is in it."""
    found = Status(log.store).subscription(name)
    return found.state, found.state_reason


def set_state(log: EventLog, state: str) -> None:
    """Put "crm" into a state that only workers bring about."""
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.subscription).values(state=state))


def read_audit(log: EventLog) -> list[tuple[str, str, str]]:
    """Return who did what to which subscription."""
    audit = log.store.tables.audit.c
    with log.store.reading() as connection:
        rows = connection.execute(select(audit.actor, audit.action, audit.target))
        return [(row[0], row[1], row[2]) for row in rows]


def count_rows(log: EventLog, name: str) -> dict[str, int]:
    """Count the rows of each table that name a subscription."""
    tables = log.store.tables
    parts = (tables.lane, tables.parked, tables.blocked, tables.attempt, tables.intent)
    with log.store.reading() as connection:
        return {
            part.name: connection.scalars(
                select(func.count()).select_from(part).where(part.c.subscription == name)
            ).one()
            for part in (*parts, tables.replay)
        }


def test_a_paused_subscription_goes_on_when_it_is_resumed(log: EventLog, control: Control) -> None:
    """Each is done once, with the reason; whatever is as wished already is left alone."""
    free(log)

    assert control.pause("crm", actor="ana", reason="a deploy") is True
    assert control.pause("crm", actor="ben", reason="another") is False
    assert state_of(log) == ("paused", "a deploy")
    assert control.resume("crm", actor="ana") is True
    assert control.resume("crm", actor="ben") is False
    assert state_of(log) == ("active", None)
    assert read_audit(log) == [
        ("ana", "subscriptions pause", "crm"),
        ("ana", "subscriptions resume", "crm"),
    ]


def test_a_failing_one_is_not_resumed_and_a_missing_one_cannot_be(
    log: EventLog, control: Control
) -> None:
    """The former goes on by itself; for the latter somebody must do something."""
    free(log)
    set_state(log, "failing")
    assert control.resume("crm", actor="ana") is False
    assert state_of(log)[0] == "failing"

    set_state(log, "missing")
    with pytest.raises(RouterError, match="router subscriptions forget crm"):
        control.resume("crm", actor="ana")
    assert control.pause("crm", actor="ana")


@pytest.mark.parametrize(
    "act",
    [
        lambda control: control.pause("crn", actor="ana"),
        lambda control: control.resume("crn", actor="ana"),
        lambda control: control.skip("crn", to="head", actor="ana"),
        lambda control: control.rename("crn", "new", actor="ana"),
        lambda control: control.relane("crn", 2, actor="ana"),
        lambda control: control.forget("crn", actor="ana"),
    ],
)
def test_an_unknown_name_is_told_with_a_guess(
    log: EventLog, control: Control, act: Callable[[Control], object]
) -> None:
    """Whoever mistypes a name learns what was perhaps meant, and nothing is changed."""
    free(log)

    with pytest.raises(UnknownName, match="did you mean crm"):
        act(control)
    assert read_audit(log) == []


def test_what_is_skipped_counts_as_settled(log: EventLog, control: Control) -> None:
    """Up to the position: the retry and what waits behind it are gone, the dead letter stays."""
    append_messages(log, ["ana", "ben", "ana", "cem", "dee"])
    free(log)
    park(log, 1, next_at=1, is_blocking=True)
    park(log, 2)
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.lane).values(checkpoint=2))

    done = control.skip("crm", to=4, actor="ana")

    assert (dict(done.by_type), done.retries, done.is_pending) == ({"message": 2}, 1, False)
    assert [lane.checkpoint for lane in read_lanes(log.store)] == [4]
    assert {at: row.state for at, row in read_parked(log.store).items()} == {2: "dead"}
    assert read_blocked(log.store) == {":ana": 4}
    assert control.skip("crm", to=3, actor="ana").is_empty
    assert read_audit(log) == [("ana", "subscriptions skip", "crm")]


def test_a_skip_waits_for_whoever_runs_the_lane(log: EventLog, control: Control) -> None:
    """The owner's checkpoint is the owner's to move; what is asked is on record."""
    append_messages(log, ["ana"])
    subscribe(log)

    assert control.skip("crm", to="head", actor="ana").is_pending
    assert [lane.checkpoint for lane in read_lanes(log.store)] == [0]
    assert count_rows(log, "crm")["intent"] == 1


def test_nobody_skips_what_has_not_come(log: EventLog, control: Control) -> None:
    """A position behind the head is refused: the next events would be lost unseen."""
    append_messages(log, ["ana"])
    free(log)

    with pytest.raises(RouterError, match="position 2: the log's last one is 1"):
        control.skip("crm", to=2, actor="ana")


def test_all_that_is_on_record_gets_the_new_name(log: EventLog, control: Control) -> None:
    """Progress, failures, what is asked and the replays go on; the plugin is not missing now."""
    append_messages(log, ["ana", "ben"])
    [lane] = subscribe(log)
    settle(log, lane, checkpoint=1)
    control.skip("crm", to=2, actor="ana")
    Lanes(log.store, worker="w").release(lane)
    park(log, 1, next_at=1, is_blocking=True)
    start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])
    set_state(log, "missing")
    before = count_rows(log, "crm")
    assert 0 not in before.values()

    control.rename("crm", "sales", actor="ana")

    assert count_rows(log, "sales") == before
    assert set(count_rows(log, "crm").values()) == {0}
    assert state_of(log, "sales") == ("active", None)
    [row] = read_lanes(log.store, "sales")
    assert (row.checkpoint, row.epoch) == (1, lane.epoch + 1)


def test_a_name_that_is_taken_is_refused(log: EventLog, control: Control) -> None:
    """Two pasts cannot become one."""
    free(log)
    free(log, "sales")

    with pytest.raises(RouterError, match="forget it first: router subscriptions forget sales"):
        control.rename("crm", "sales", actor="ana")


def test_nothing_is_left_of_a_forgotten_subscription(log: EventLog, control: Control) -> None:
    """But its replays, as history, cancelled if they had not ended; others keep all theirs."""
    append_messages(log, ["ana", "ben"])
    for name in ("mail", "crm"):
        [lane] = subscribe(log, name)
        control.skip(name, to=1, actor="ana")
        Lanes(log.store, worker="w").release(lane)
        park(log, 2, name=name, next_at=1, is_blocking=True)
        start_replay(log, name)
    ReplayRuns(log.store).take_up(["crm", "mail"])
    others = count_rows(log, "mail")

    gone = control.forget("crm", actor="ana", reason="unused")

    assert (gone.lag, gone.retries, gone.replays) == (2, 1, 1)
    assert {part: count for part, count in count_rows(log, "crm").items() if count} == {"replay": 1}
    assert [one.state for one in Replays(log).list(limit=9)] == ["cancelled", "running"]
    assert count_rows(log, "mail") == others
    with pytest.raises(UnknownName):
        Status(log.store).subscription("crm")


@pytest.mark.parametrize(
    "act",
    [
        lambda control: control.rename("crm", "new", actor="ana"),
        lambda control: control.relane("crm", 2, actor="ana"),
        lambda control: control.forget("crm", actor="ana"),
    ],
)
def test_what_a_worker_runs_is_left_alone(
    log: EventLog, control: Control, act: Callable[[Control], object]
) -> None:
    """A replay's lane is enough; when it is given back, the change is made."""
    free(log)
    start_replay(log)
    ReplayRuns(log.store).take_up(["crm"])
    lane = log.store.tables.lane
    with log.store.writing() as connection:
        runs = update(lane).where(lane.c.run != 0)
        connection.execute(runs.values(owner="w", expires_at=log.store.now() + 60_000_000))

    assert not control.is_at_rest("crm")
    with pytest.raises(RouterError, match="is being delivered"):
        act(control)
    with log.store.writing() as connection:
        connection.execute(update(lane).values(owner=None, expires_at=None))
    assert control.is_at_rest("crm")
    act(control)


def test_a_silent_owner_finds_its_lane_gone(log: EventLog, control: Control) -> None:
    """One whose lease has expired is no obstacle, and what it still writes changes nothing."""
    [lane] = subscribe(log)
    with log.store.writing() as connection:
        connection.execute(update(log.store.tables.lane).values(expires_at=1))

    control.relane("crm", 2, actor="ana")

    with pytest.raises(LeaseLost):
        settle(log, lane, checkpoint=9)
    assert control.relane("crm", 2, actor="ana") == 2
    assert len(read_audit(log)) == 1


class Racing(Store):
    """A store in which a worker runs the lanes for a moment, just before something is written."""

    moved_to = 0

    @contextmanager
    def writing(self, *kind: Any, **terms: Any) -> Iterator[Connection]:  # noqa: ANN401
        """Let the lanes come on once, and then write."""
        if self.moved_to:
            with super().writing() as connection:
                lane = self.tables.lane
                first = update(lane).where(lane.c.first_shard == 0)
                connection.execute(first.values(checkpoint=self.moved_to))
            self.moved_to = 0
        with super().writing(*kind, **terms) as connection:
            yield connection


def test_lanes_that_came_on_meanwhile_are_looked_at_again(database: str) -> None:
    """Nothing that was settled between the look and the change is handed over once more."""
    log = EventLog(Racing(database))
    append_messages(log, SUBJECTS)
    free(log, lanes=2)
    log.store.moved_to = 20  # type: ignore[attr-defined]  # it is the one above

    Control(log.store).relane("crm", 1, actor="ana")

    [lane] = read_lanes(log.store)
    spans = [span for first, last in json.loads(lane.done) for span in range(first, last + 1)]
    assert set(spans) >= {event.position for event in log.read() if event.shard < 512}
    log.store.close()


def test_parked_deliveries_are_found_in_the_new_lanes(log: EventLog, control: Control) -> None:
    """What waits in an old lane waits in that one of the new lanes that has its shard."""
    append_messages(log, SUBJECTS)
    free(log)
    for position in range(1, 21):
        park(log, position, next_at=1, is_blocking=True)

    control.relane("crm", 4, actor="ana")

    shards = {event.position: event.shard for event in log.read()}
    found: list[int] = []
    for lane in Lanes(log.store, worker="w").claim(["crm"]):
        with log.store.reading() as connection:
            held = Parking(log.store.tables).load(connection, lane)
        mine = [one.position for one in held.retries]
        assert all(lane.first_shard <= shards[at] <= lane.last_shard for at in mine)
        assert len(held.blocked) == len(mine)
        found += mine
    assert sorted(found) == list(range(1, 21))
    assert count_attempts(log.store, 1) == 1


class Row(NamedTuple):
    """A lane as it is on record."""

    first: int
    last: int
    checkpoint: int
    done: list[tuple[int, int]]
    epoch: int

    def has_settled(self, position: int) -> bool:
        """Whether what is at ``position`` is settled."""
        spans = [(0, self.checkpoint), *self.done]
        return any(first <= position <= last for first, last in spans)


@pytest.fixture(scope="module")
def long_log(
    empty_database: Path, tmp_path_factory: pytest.TempPathFactory
) -> EventLog:  # closed by nobody: it lasts as long as the tests
    """A log of 40 events of 20 subjects, with a subscription and a replay up to position 30."""
    path = shutil.copy(empty_database, tmp_path_factory.mktemp("control") / "router.db")
    log = EventLog(f"sqlite:///{path}")
    append_messages(log, SUBJECTS + SUBJECTS[::-1])
    free(log)
    start_replay(log)
    with log.store.writing() as connection:
        replay = {"id": RUNS[1], "state": "running", "to_position": END}
        connection.execute(update(log.store.tables.replay).values(**replay))
    return log


@st.composite
def tilings(draw: st.DrawFn) -> dict[int, list[Row]]:
    """Lanes that have come as far as they like; of the replay, some are gone."""
    lanes = cut(draw(st.integers(1, 5)))
    found = {}
    for run, last in zip(RUNS, (EVENTS, END - 1), strict=True):
        kept = draw(st.lists(st.sampled_from(lanes), min_size=1, unique=True)) if run else lanes
        found[run] = [
            Row(*shards, *draw(progress(last)), draw(st.integers(0, 3))) for shards in sorted(kept)
        ]
    return found


@st.composite
def progress(draw: st.DrawFn, last: int) -> tuple[int, list[tuple[int, int]]]:
    """A checkpoint, and ranges of positions above it, which never touch."""
    checkpoint = draw(st.integers(0, last))
    bounds = (
        sorted(draw(st.sets(st.integers(checkpoint + 2, last), max_size=6)))
        if (checkpoint + 2 <= last)
        else []
    )
    spans = zip(bounds[::2], bounds[1::2], strict=False)
    return checkpoint, [(first, end - 1) for first, end in spans]


def write_rows(log: EventLog, rows: dict[int, list[Row]]) -> None:
    """Put these lanes in the place of all others."""
    lane = log.store.tables.lane
    with log.store.writing() as connection:
        connection.execute(delete(lane))
        for run, lanes in rows.items():
            for one in lanes:
                progress = {"checkpoint": one.checkpoint, "done": dump_ranges(one.done)}
                key = {"subscription": "crm", "run": run, "takeovers": 0, "epoch": one.epoch}
                shards = {"first_shard": one.first, "last_shard": one.last}
                connection.execute(insert(lane).values(**key, **shards, **progress))


def read_rows(log: EventLog) -> dict[int, list[Row]]:
    """Return the lanes on record."""
    lane = log.store.tables.lane.c
    query = select(lane.run, lane.first_shard, lane.last_shard, lane.checkpoint, lane.done)
    found: dict[int, list[Row]] = {run: [] for run in RUNS}
    with log.store.reading() as connection:
        rows = connection.execute(query.add_columns(lane.epoch).order_by(lane.first_shard))
        for run, first, last, checkpoint, done, epoch in rows:
            found[run].append(Row(first, last, checkpoint, json.loads(done), epoch))
    return found


def find_settled(log: EventLog, rows: dict[int, list[Row]]) -> dict[int, set[int]]:
    """Return what each run has settled; where a replay has no lane any more, it has all."""
    found: dict[int, set[int]] = {run: set() for run in RUNS}
    for run, last in zip(RUNS, (EVENTS, END - 1), strict=True):
        for event in log.read(until=last):
            mine = [row for row in rows[run] if row.first <= event.shard <= row.last]
            assert len(mine) <= 1
            if all(row.has_settled(event.position) for row in mine):
                found[run].add(event.position)
    return found


@given(before=tilings(), counts=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_each_event_is_settled_exactly_if_it_was_before(
    long_log: EventLog, before: dict[int, list[Row]], counts: list[int]
) -> None:
    """However far lanes have come, however often they are cut anew, live and in a replay."""
    write_rows(long_log, before)
    settled = find_settled(long_log, before)

    for lanes in counts:
        earlier = read_rows(long_log)
        had = Control(long_log.store).relane("crm", lanes, actor="ana")
        after = read_rows(long_log)

        assert find_settled(long_log, after) == settled
        assert [(row.first, row.last) for row in after[0]] == cut(lanes)
        if had == lanes:
            assert after == earlier
            continue
        left = [shards for shards in cut(lanes) if lies_over(earlier[RUNS[1]], *shards)]
        assert [(row.first, row.last) for row in after[RUNS[1]]] == left
        highest = max(row.epoch for row in earlier[0] + earlier[RUNS[1]])
        assert {row.epoch for row in after[0] + after[RUNS[1]]} == {highest + 1}


def lies_over(rows: list[Row], first: int, last: int) -> bool:
    """Whether any of the lanes has any of these shards."""
    return any(row.first <= last and row.last >= first for row in rows)
