"""Tests of `router.ledger`: what has come of a lane is written down in one piece."""

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection, event, select, update
from sqlalchemy.pool import PoolProxiedConnection

from router.errors import Unavailable
from router.lane import LeaseLost
from router.lanes import Lanes
from router.ledger import PATIENCE, Counts, Ledger
from router.log import EventLog
from router.options import Options
from router.parking import Parking
from router.replay_counts import Count
from router.roster import Roster
from router.store import Store
from tests.entries import append_messages
from tests.waiting import until

DONE: Count = ("message", "done")
FAILED: Count = ("message", "failed")


class Desk:
    """A lane with all that its ledger needs.

    Attributes:
        slept: The seconds that the ledger has slept each time.
        told: The counts that were told to the tally, done and failed.
        heard: What was said to be on record, by outcome.
        commits: How many transactions were committed.
    """

    def __init__(self, store: Store, storage: ThreadPoolExecutor) -> None:
        self.slept: list[float] = []
        self.told: list[tuple[int, int]] = []
        self.heard: list[Mapping[str, int]] = []
        self.commits = 0
        self.on_sleep: Callable[[], None] = lambda: None
        self._store = store
        self._storage = storage
        roster = Roster(store, pid=1)
        roster.enrol(["crm", "audit"])
        self._lanes = Lanes(store, worker=roster.worker)
        event.listen(store.engine, "commit", self._note_commit)
        roster.declare("crm", {}, Options(start="beginning", lanes=1))
        self.parking = Parking(store.tables)

    def open(self) -> Ledger:
        """Claim the lane and return its ledger; commits are counted from here on."""
        (lane,) = self._lanes.claim(["crm"])
        self.commits = 0
        return Ledger(
            lane,
            lanes=self._lanes,
            parking=self.parking,
            storage=self._storage,
            sleep=self._sleep,
            tally=self._tally,
            tell=self.heard.append,
        )

    def give_back(self, ledger: Ledger) -> None:
        """Give the lane back."""
        self._lanes.release(ledger.lane)

    def take_away(self) -> None:
        """Let another worker take the lane over."""
        table = self._store.tables.lane
        with self._store.writing() as connection:
            connection.execute(update(table).values(epoch=table.c.epoch + 1, owner="another"))

    def recorded(self) -> tuple[int, str]:
        """Return the checkpoint and the settled ranges that are on record."""
        lane = self._store.tables.lane.c
        with self._store.reading() as connection:
            row = connection.execute(select(lane.checkpoint, lane.done)).one()
        return row.checkpoint, row.done

    def blocked(self) -> dict[str, int]:
        """Return the blocked subjects that are on record."""
        table = self._store.tables.blocked.c
        with self._store.reading() as connection:
            rows = connection.execute(select(table.subject, table.position))
            return {row.subject: row.position for row in rows}

    def block(self, ledger: Ledger, conversation: str) -> Callable[[Connection], None]:
        """Return what writes down that the subject of a new message is blocked."""
        log = EventLog(self._store)
        (position,) = append_messages(log, [conversation])
        event = log.find(str(position))
        return lambda connection: self.parking.block(connection, ledger.lane, event)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.on_sleep()

    def _note_commit(self, _connection: Connection) -> None:
        self.commits += 1

    def _tally(self, connection: Connection, counts: Counts) -> None:
        self.told.append((counts[DONE], counts[FAILED]))


@pytest.fixture
def storage() -> Iterator[ThreadPoolExecutor]:
    """Threads that talk to the database."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


@pytest.fixture
def desk(store: Store, storage: ThreadPoolExecutor) -> Desk:
    """A lane that nobody has claimed."""
    return Desk(store, storage)


def fail(_connection: Connection) -> None:
    """Be a statement that fails."""
    raise RuntimeError("broken")


def test_progress_is_written_down(desk: Desk) -> None:
    """The checkpoint and the ranges above it go on record together."""
    ledger = desk.open()
    ledger.progress.take([2, 5], reached=9)
    asyncio.run(ledger.write())
    assert desk.recorded() == (1, "[[3,4],[6,9]]")
    ledger.settle(2)
    asyncio.run(ledger.write())
    assert desk.recorded() == (4, "[[6,9]]")


def test_a_ledger_opens_where_the_last_one_was_closed(desk: Desk) -> None:
    """The lane's next owner goes on from what is on record."""
    ledger = desk.open()
    ledger.progress.take([2, 5], reached=9)
    asyncio.run(ledger.write())
    desk.give_back(ledger)
    progress = desk.open().progress
    assert progress.take([2, 3, 5, 6, 10], reached=10) == [2, 5, 10]


def test_statements_are_written_with_the_progress(desk: Desk) -> None:
    """What a caller has to write is in the same transaction as the checkpoint."""
    ledger = desk.open()
    block = desk.block(ledger, "ana")
    ledger.progress.take([], reached=7)
    asyncio.run(ledger.write(block))
    assert (desk.recorded(), desk.blocked()) == ((7, "[]"), {":ana": 1})


def test_a_failing_statement_takes_all_back(desk: Desk) -> None:
    """When one statement fails, neither the others nor the progress are on record."""
    ledger = desk.open()
    block = desk.block(ledger, "ana")
    ledger.progress.take([], reached=7)
    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(ledger.write(block, fail))
    assert (desk.recorded(), desk.blocked()) == ((0, "[]"), {})


def test_how_far_blocked_subjects_have_come_is_written_down(desk: Desk) -> None:
    """An advance goes on record with the next write, whatever it is about."""
    ledger = desk.open()
    asyncio.run(ledger.write(desk.block(ledger, "ana"), desk.block(ledger, "ben")))
    ledger.blocked.update({":ana": 1, ":ben": 2})
    ledger.advance(":ana", 5)
    ledger.advance(":ana", 8)
    assert ledger.blocked == {":ana": 8, ":ben": 2}
    assert desk.blocked() == {":ana": 1, ":ben": 2}
    asyncio.run(ledger.write())
    assert desk.blocked() == {":ana": 8, ":ben": 2}


def test_a_release_is_written_down(desk: Desk) -> None:
    """A subject that may go on is off the record with the next write, even if it has advanced."""
    ledger = desk.open()
    asyncio.run(ledger.write(desk.block(ledger, "ana"), desk.block(ledger, "ben")))
    ledger.blocked.update({":ana": 1, ":ben": 2})
    ledger.advance(":ana", 5)
    ledger.release(":ana")
    asyncio.run(ledger.write())
    assert ledger.blocked == desk.blocked() == {":ben": 2}


def test_a_subject_may_be_blocked_again_at_once(desk: Desk) -> None:
    """A release that is not on record yet does not undo a block that came after it."""
    ledger = desk.open()
    asyncio.run(ledger.write(desk.block(ledger, "ana")))
    ledger.blocked[":ana"] = 1
    ledger.release(":ana")
    asyncio.run(ledger.write(desk.block(ledger, "ana")))
    assert desk.blocked() == {":ana": 2}


def test_counts_are_told_once(desk: Desk) -> None:
    """Each delivery is counted in one transaction, and in no later one."""
    ledger = desk.open()
    ledger.count([DONE, DONE, FAILED])
    asyncio.run(ledger.write())
    ledger.count([DONE])
    asyncio.run(ledger.write())
    assert desk.told == [(2, 1), (1, 0)]


def test_flush_writes_only_what_is_new(desk: Desk) -> None:
    """A lane without progress costs the database nothing."""
    ledger = desk.open()
    ledger.progress.take([3], reached=4)
    for _ in range(3):
        asyncio.run(ledger.flush())
    assert desk.recorded() == (2, "[[4,4]]")
    assert desk.commits == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda ledger: ledger.progress.take([], reached=9),
        lambda ledger: ledger.settle(3),
        lambda ledger: ledger.count([DONE]),
        lambda ledger: ledger.count([FAILED]),
        lambda ledger: ledger.advance(":ana", 4),
        lambda ledger: ledger.release(":ana"),
    ],
    ids=["read on", "settled", "done", "failed", "advanced", "released"],
)
def test_flush_writes_whatever_is_new(desk: Desk, change: Callable[[Ledger], None]) -> None:
    """Each kind of progress makes a flush write."""
    ledger = desk.open()
    ledger.blocked[":ana"] = 1
    ledger.progress.take([3], reached=4)
    asyncio.run(ledger.flush())
    change(ledger)
    asyncio.run(ledger.flush())
    assert desk.commits == 2


def test_a_ledger_without_its_lane_writes_nothing(desk: Desk) -> None:
    """Once another worker has the lane, neither progress nor statements go on record."""
    ledger = desk.open()
    block = desk.block(ledger, "ana")
    desk.take_away()
    ledger.progress.take([], reached=7)
    with pytest.raises(LeaseLost):
        asyncio.run(ledger.write(block))
    with pytest.raises(LeaseLost):
        asyncio.run(ledger.flush())
    assert (desk.recorded(), desk.blocked(), desk.told) == ((0, "[]"), {}, [])


@pytest.mark.engines("sqlite")
def test_a_database_that_does_not_answer_is_waited_for(database: str) -> None:
    """While another process holds the database, a write is tried again, then done in full."""
    store = Store(f"{database}?timeout=0.01")
    with ThreadPoolExecutor(1) as storage:
        desk = Desk(store, storage)
        ledger = desk.open()
        block = desk.block(ledger, "ana")
        ledger.progress.take([], reached=7)
        ledger.count([DONE])
        with sqlite3.connect(database.removeprefix("sqlite:///"), isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            desk.on_sleep = lambda: other.rollback() if len(desk.slept) == 3 else None
            asyncio.run(ledger.write(block))
        other.close()
    assert desk.slept == [PATIENCE] * 3
    assert (desk.recorded(), desk.blocked()) == ((7, "[]"), {":ana": 1})
    assert desk.told == [(1, 0)]
    store.close()


def test_a_read_gives_what_the_query_gives(desk: Desk) -> None:
    """A query runs on a storage thread, not on the loop."""
    ledger = desk.open()
    thread = asyncio.run(ledger.read(threading.current_thread))
    assert thread is not threading.current_thread()


def test_writes_are_made_one_after_another(desk: Desk) -> None:
    """A write that is slow is not overtaken by a later one, so no record goes back."""
    ledger = desk.open()
    begun, may_end = threading.Event(), threading.Event()
    order: list[str] = []

    def be_slow(_connection: Connection) -> None:
        begun.set()
        may_end.wait(timeout=10)
        order.append("slow")

    async def main() -> None:
        ledger.progress.take([], reached=3)
        slow = asyncio.create_task(ledger.write(be_slow))
        await until(begun.is_set)
        ledger.progress.take([], reached=9)
        quick = asyncio.create_task(ledger.write(lambda _connection: order.append("quick")))
        await asyncio.sleep(0)
        may_end.set()
        await asyncio.gather(slow, quick)

    asyncio.run(main())
    assert order == ["slow", "quick"]
    assert desk.recorded() == (9, "[]")


def test_what_is_settled_during_a_write_is_new_to_the_next(desk: Desk) -> None:
    """A flush right after a write sees what was settled while that was under way."""
    ledger = desk.open()
    begun, may_end = threading.Event(), threading.Event()

    def be_slow(_connection: Connection) -> None:
        begun.set()
        may_end.wait(timeout=10)

    async def main() -> None:
        ledger.progress.take([2, 3], reached=3)
        slow = asyncio.create_task(ledger.write(be_slow))
        await until(begun.is_set)
        ledger.settle(3)
        may_end.set()
        await slow
        assert desk.recorded() == (1, "[]")
        await ledger.flush()

    asyncio.run(main())
    assert desk.recorded() == (1, "[[3,3]]")


def test_what_a_statement_tells_is_counted(desk: Desk) -> None:
    """What came of a delivery is counted in the transaction that records it."""
    ledger = desk.open()
    ledger.count([DONE])
    asyncio.run(ledger.write(lambda _: DONE, lambda _: FAILED, lambda _: None))
    assert desk.told == [(2, 1)]
    assert desk.heard == [{"done": 2, "failed": 1}]


def test_only_what_is_on_record_is_told(desk: Desk) -> None:
    """A transaction that came to nothing is not told; where it is tried again, that is, once."""
    ledger = desk.open()

    def record(_: Connection) -> Count:
        if not desk.slept:
            raise Unavailable("not now")
        assert desk.heard == []
        return "message", "done"

    asyncio.run(ledger.write(record))
    assert (desk.slept, desk.heard) == ([PATIENCE], [{"done": 1}])
    asyncio.run(ledger.write(lambda _: None))
    desk.take_away()
    with pytest.raises(LeaseLost):
        asyncio.run(ledger.write(lambda _: DONE))
    assert desk.heard == [{"done": 1}]


def test_what_becomes_true_with_a_transaction_is_noted_in_it(desk: Desk) -> None:
    """A note is not on record before its transaction, however long that has to wait."""
    ledger = desk.open()
    begun, may_end = threading.Event(), threading.Event()

    def be_slow(_connection: Connection) -> None:
        begun.set()
        may_end.wait(timeout=10)

    async def main() -> None:
        ledger.progress.take([1, 2], reached=2)
        slow = asyncio.create_task(ledger.write(be_slow))
        await until(begun.is_set)
        noting = asyncio.create_task(ledger.write(note=lambda: ledger.settle(1)))
        await asyncio.sleep(0)
        assert ledger.progress.checkpoint == 0
        may_end.set()
        await asyncio.gather(slow, noting)

    asyncio.run(main())
    assert desk.recorded() == (1, "[]")


def test_a_ledger_that_failed_writes_nothing_more(desk: Desk) -> None:
    """What is in memory after a failed write is not to be trusted: the lane begins again."""
    ledger = desk.open()
    ledger.progress.take([], reached=7)
    for statement in (fail, lambda _: None):
        with pytest.raises(RuntimeError, match="broken"):
            asyncio.run(ledger.write(statement))
    assert desk.recorded() == (0, "[]")


def test_what_may_have_been_committed_is_not_done_again(
    desk: Desk, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the answer to a commit was lost, the record has to tell: the lane begins again."""
    dialect = store.engine.dialect
    commit, calls = dialect.do_commit, []

    def lose_answer(connection: PoolProxiedConnection) -> None:
        commit(connection)
        monkeypatch.undo()
        raise dialect.loaded_dbapi.OperationalError("server closed the connection unexpectedly")

    ledger = desk.open()
    ledger.progress.take([], reached=7)
    monkeypatch.setattr(dialect, "do_commit", lose_answer)
    for _ in range(2):
        with pytest.raises(LeaseLost):
            asyncio.run(ledger.write(lambda _: calls.append(1)))
    assert (calls, desk.slept, desk.recorded()) == ([1], [PATIENCE], (7, "[]"))


def test_a_write_outlives_its_caller(desk: Desk) -> None:
    """What a call came to is on record, even if whoever made it was cancelled meanwhile."""
    ledger = desk.open()
    begun, may_end = threading.Event(), threading.Event()

    def be_slow(_connection: Connection) -> None:
        begun.set()
        may_end.wait(timeout=10)

    async def main() -> None:
        ledger.progress.take([], reached=7)
        writing = asyncio.create_task(ledger.write(be_slow))
        await until(begun.is_set)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        may_end.set()
        await until(lambda: desk.recorded() == (7, "[]"))

    asyncio.run(main())
