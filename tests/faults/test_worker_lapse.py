"""A worker on PostgreSQL is killed, or stands still beyond its lease: another takes its lanes."""

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from router.log import EventLog
from tests.entries import append_messages
from tests.faults import fleet
from tests.faults.beside import beside, wait
from tests.faults.fleet import Fleet, Member
from tests.faults.journal import Journal, find_breaches
from tests.faults.record import Record
from tests.faults.worker import AWAITING, EFFECTS, PLAIN, make_effects, write_plugins
from tests.sizes import choose

pytestmark = pytest.mark.slow

LANES = 8  # of each subscription
PLUGINS = (PLAIN, AWAITING, EFFECTS)
SUBJECTS, BATCH = 40, choose(5, ci=20)  # of events, ten times a second


class Scene:
    """Two workers of one log that grows all the time.

    Attributes:
        first: The worker that something happens to.
        second: The other one.
        record: What is on record.
        journals: What plugins wrote down that are called at least once.
    """

    def __init__(self, folder: Path, url: str, found: Fleet) -> None:
        self.first, self.second = found.workers
        self.record = Record(url)
        self.journals = [Journal(folder / f"{name}.txt") for name in (PLAIN, AWAITING)]
        self._log = EventLog(url)
        self._stopped = threading.Event()

    @contextmanager
    def growing(self) -> Iterator[None]:
        """Append while the block lasts."""
        with beside(self._grow, self._stopped):
            yield
        self._log.store.close()

    def owned(self, member: Member) -> int:
        """Return how many lanes a worker owns."""
        return self.record.owners()[str(member.pid)]

    def is_shared(self) -> bool:
        """Whether each has its half of all lanes."""
        half = LANES * len(PLUGINS) // 2
        return self.owned(self.first) == self.owned(self.second) == half

    def is_taken_over(self) -> bool:
        """Whether the second worker has all lanes."""
        return self.owned(self.second) == LANES * len(PLUGINS)

    def progress(self) -> list[int]:
        """Return the epoch and then the checkpoint of each lane."""
        query = "SELECT epoch, checkpoint FROM lane ORDER BY subscription, run, first_shard"
        rows = self.record.ask(query)
        return [row[0] for row in rows] + [row[1] for row in rows]

    def check(self) -> None:
        """Check that each event was handled, in order, and had its effect once."""
        every = set(range(1, self.record.head() + 1))
        for journal in self.journals:
            journal.refresh()
            assert list(find_breaches(journal.lines))[:5] == []
            assert journal.handled.keys() == every
        self.record.check_effects()

    def _grow(self) -> None:
        chance = random.Random(1)  # noqa: S311  # the same each time
        while not self._stopped.wait(0.1):
            append_messages(self._log, [f"c{chance.randrange(SUBJECTS)}" for _ in range(BATCH)])


@pytest.fixture
def scene(tmp_path: Path, postgres_log: str) -> Iterator[Scene]:
    """Two workers that share the lanes of three plugins."""
    fleet.configure(tmp_path, postgres_log)
    write_plugins(tmp_path, failing=0.01, plugins=PLUGINS)
    make_effects(postgres_log)
    with fleet.running(tmp_path, workers=2) as found:
        scene = Scene(tmp_path, postgres_log, found)
        wait(scene.is_shared)
        yield scene


def test_the_lanes_of_a_killed_worker_run_elsewhere(scene: Scene) -> None:
    """After a kill -9 the other worker takes all lanes over, and each event is handled."""
    with scene.growing():
        wait(lambda: scene.record.head() > 200)
        scene.first.kill()
        seconds = wait(scene.is_taken_over)
    wait(scene.record.is_delivered)
    scene.check()
    print(f"\nall lanes of a killed worker ran elsewhere after {seconds:.1f} s")  # noqa: T201


def test_a_worker_that_stood_still_beyond_its_lease_changes_nothing(scene: Scene) -> None:
    """What it had under way leaves no trace when it goes on; then it has its share again."""
    with scene.growing():
        wait(lambda: scene.record.head() > 200)
        scene.first.pause()
        seconds = wait(scene.is_taken_over)
        reached = scene.record.head()
        wait(lambda: min(scene.progress()[LANES * len(PLUGINS) :]) >= reached)
        before = scene.progress()
        scene.first.resume()
        again = wait(scene.is_shared)
        after = scene.progress()
    assert all(new >= old for old, new in zip(before, after, strict=True))
    said = scene.first.text
    assert "another worker has taken over" in said or "has another owner" in said
    wait(scene.record.is_delivered)
    scene.check()
    print(  # noqa: T201
        f"\nall lanes of a worker that stood still ran elsewhere after {seconds:.1f} s, and it had"
        f" its share again {again:.1f} s after it went on"
    )
