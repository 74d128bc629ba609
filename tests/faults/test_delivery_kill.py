"""A worker is killed in the midst of its work: each subject stays in order, and nothing is lost.

What counts as out of order is stated in `tests.faults.journal`. With ROUTER_TEST_SIZE=full there
are 100,000 events of 1,000 subjects, which takes minutes; in CI 6,000 of 150.
"""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import beside
from tests.faults.journal import Journal, Line, find_breaches
from tests.faults.worker import AWAITING, EFFECTS, PLAIN, Worker, append, prepare, work
from tests.sizes import choose

EVENTS, SUBJECTS = choose((600, 60), ci=(6_000, 150), full=(100_000, 1_000))
KILLS = 2
FAILING = 0.01
SECONDS = choose(300, ci=300, full=900)  # that a life may take: far more than it needs


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Path:
    """A folder to work in, with an empty log."""
    shutil.copy(empty_database, tmp_path / "router.db")
    return tmp_path


class Effects:
    """What the transactional plugin wrote through its connection."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "router.db"

    def count(self) -> int:
        """Return how many rows there are."""
        return int(self._ask("SELECT count(*) FROM effect")[0][0])

    def read(self) -> list[tuple[int, str]]:
        """Return position and subject of all rows, as they were written."""
        return [(row[0], row[1]) for row in self._ask("SELECT * FROM effect ORDER BY rowid")]

    def _ask(self, query: str) -> list[tuple[int, str]]:
        with closing(sqlite3.connect(self._database, timeout=30)) as database:
            return database.execute(query).fetchall()


def wait(worker: Worker, condition: Callable[[], bool]) -> None:
    """Wait until ``condition`` holds while ``worker`` lives."""

    def holds() -> bool:
        worker.require_alive()
        return condition()

    beside.wait(holds, seconds=SECONDS)


def test_two_kills_lose_nothing_and_keep_each_subject_in_order(folder: Path) -> None:
    """Two kill -9 amid failures: no event missing or out of order, SQL effects exactly once."""
    prepare(folder, failing=FAILING, plugins=(PLAIN, AWAITING, EFFECTS))
    append(folder, events=EVENTS, subjects=SUBJECTS)
    journals = {name: Journal(folder / f"{name}.txt") for name in (PLAIN, AWAITING)}
    effects = Effects(folder)

    def reached() -> list[int]:
        for journal in journals.values():
            journal.refresh()
        return [effects.count(), *(len(journal.handled) for journal in journals.values())]

    before = reached()
    for kill in range(1, KILLS + 1):
        with work(folder) as worker:
            wait(worker, lambda: is_amid(before, reached(), share=kill / (KILLS + 1)))  # noqa: B023
            worker.kill()
        before = reached()
        print(f"\nkilled when {before} were handled", end="")  # noqa: T201  # for -s
    with work(folder) as worker:
        wait(worker, lambda: min(reached()) >= EVENTS)
        worker.stop()
    for name, journal in journals.items():
        journal.refresh()
        print(f"\n{name}: {journal.repeats} handled again after a kill", end="")  # noqa: T201
        check_journal(journal)
    check_effects(effects.read())
    check_record(folder)


def is_amid(before: list[int], now: list[int], *, share: float) -> bool:
    """Whether the fastest has done its share, and each plugin something in this life."""
    has_begun = all(new > old for old, new in zip(before, now, strict=True))
    return has_begun and max(now) >= share * EVENTS


def check_journal(journal: Journal) -> None:
    """Check what a plugin wrote that is called at least once."""
    assert list(find_breaches(journal.lines))[:5] == []
    assert set(journal.handled) == set(range(1, EVENTS + 1))
    assert any(line.word == "failed" for line in journal.lines)
    assert journal.lives == KILLS + 1  # it had work before, between and after the kills


def check_effects(rows: list[tuple[int, str]]) -> None:
    """Check what was written in the transactions that settle events."""
    assert Counter(position for position, _ in rows) == Counter(range(1, EVENTS + 1))
    latest: dict[str, int] = {}
    for position, subject in rows:
        assert position > latest.get(subject, 0), f"{subject}: {position} after {latest[subject]}"
        latest[subject] = position


def check_record(folder: Path) -> None:
    """Check that the router, too, takes all for settled, and nothing for parked or blocked."""
    with closing(sqlite3.connect(folder / "router.db")) as database:
        assert set(database.execute("SELECT checkpoint FROM lane")) == {(EVENTS,)}
        assert database.execute("SELECT count(*) FROM parked").fetchone() == (0,)
        assert database.execute("SELECT count(*) FROM blocked").fetchone() == (0,)


def test_subjects_out_of_order_are_found_out(folder: Path) -> None:
    """The same check finds fault with a subscription that keeps no order."""
    settings = f'[subscriptions.{AWAITING}]\norder = "none"\n'
    prepare(folder, failing=FAILING, plugins=(AWAITING,), settings=settings)
    append(folder, events=500, subjects=5)
    journal = Journal(folder / f"{AWAITING}.txt")

    def is_done() -> bool:
        journal.refresh()
        return len(journal.handled) == 500

    with work(folder) as worker:
        wait(worker, is_done)
    assert list(find_breaches(journal.lines)) != []


@pytest.mark.parametrize(
    ("calls", "breaches"),
    [
        ("1:began:1 1:handled:1 1:began:2 1:handled:2", 0),
        ("1:began:1 1:failed:1 1:began:1 1:handled:1", 0),
        ("1:began:1 1:handled:1 2:began:1 2:handled:1 2:began:2 2:handled:2", 0),
        ("1:began:1 2:began:1 2:handled:1", 0),
        ("1:began:1 1:handled:1 1:began:1 1:handled:1", 1),
        ("1:began:2 1:handled:2 1:began:1 1:handled:1", 1),
        ("1:began:2 1:handled:2 2:began:1 2:handled:1", 1),
        ("1:began:1 1:began:2 1:handled:1 1:handled:2", 1),
    ],
    ids=["in order", "retried", "again", "cut", "twice", "backwards", "late", "beside"],
)
def test_only_a_repeat_after_a_kill_is_allowed(calls: str, breaches: int) -> None:
    """A position comes again in a later life only, and none first after a later one."""
    words = [call.split(":") for call in calls.split()]
    lines = [Line(int(life), word, int(position), "ana") for life, word, position in words]
    assert len(list(find_breaches(lines))) == breaches
