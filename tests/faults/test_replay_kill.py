"""A worker is killed in the midst of a replay: it goes on where it was, beside live delivery."""

import json
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from string import Template

import pytest

from router.log import EventLog
from router.replay import Replays
from router.replay_record import Replay
from tests.entries import append_messages
from tests.faults.beside import wait
from tests.faults.journal import Journal, find_breaches
from tests.faults.worker import Worker, append, work
from tests.sizes import choose

pytestmark = pytest.mark.slow

EVENTS, HELD = choose((4_000, 2_400), ci=(10_000, 6_000))  # the replay is held at one of them
SUBJECTS, LIVE_EVENTS = 200, 300
REPLAYED, BESIDE = "replayed", "beside"
RATE = 3_000  # slow enough for the kill to come while much is under way
SECONDS = 300  # that a life may take: far more than it needs

# Born at the log's end, so that each live call is one for an event of its own.
PLUGIN = Template("""
import asyncio, os
from router import hookimpl

def open_journal(name):
    return os.open(f"$name-{name}.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)

JOURNALS = {"live": open_journal("live"), "replay": open_journal("replay")}

def note(word, event):
    line = f"{os.getpid()} {word} {event.position} {event.subject}\\n"
    journal = JOURNALS["replay" if event.replay else "live"]
    os.write(journal, line.encode())  # at once, so that no kill can take it back

@hookimpl(replay="allow")
async def on_event(event):
    note("began", event)
    while event.replay and event.position == $held and not os.path.exists("go"):
        await asyncio.sleep(0.01)
    note("handled", event)
""")


class Scene:
    """A log with two plugins, a worker of which is killed and started again.

    Attributes:
        log: The log.
        replay: What a replay's calls wrote down.
        live: What live calls of each plugin wrote down.
        checkpoints: Those of each plugin's live delivery, at each look.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.log = EventLog(f"sqlite:///{folder / 'router.db'}")
        self.replay = Journal(folder / f"{REPLAYED}-replay.txt")
        self.live = {name: Journal(folder / f"{name}-live.txt") for name in (REPLAYED, BESIDE)}
        self.checkpoints: dict[str, list[int]] = {REPLAYED: [], BESIDE: []}

    @contextmanager
    def working(self) -> Iterator[Worker]:
        """Run a worker while the block lasts."""
        with work(self._folder) as worker:
            yield worker

    def let_go(self) -> None:
        """Let the replay pass the event that it is held at."""
        (self._folder / "go").touch()

    def wait(self, worker: Worker, condition: Callable[[], bool]) -> None:
        """Wait until ``condition`` holds; how far live delivery is, is noted at each look."""

        def holds() -> bool:
            worker.require_alive()
            for name, found in self.ask("SELECT subscription, checkpoint FROM lane WHERE run = 0"):
                self.checkpoints[name].append(found)
            for journal in (self.replay, *self.live.values()):
                journal.refresh()
            return condition()

        wait(holds, seconds=SECONDS)

    def deliver_live(self, worker: Worker) -> None:
        """Append live events, and wait until each plugin has handled them and that is on record."""
        head = append_messages(self.log, [f"c{n % SUBJECTS}" for n in range(LIVE_EVENTS)])[-1]
        self.wait(worker, lambda: all(one[-1] == head for one in self.checkpoints.values()))

    def ask(self, query: str) -> list[tuple[str, int]]:
        """Ask the database."""
        with closing(sqlite3.connect(self._folder / "router.db", timeout=30)) as database:
            return database.execute(query).fetchall()

    @property
    def is_recorded(self) -> bool:
        """Whether it is on record that the replay has got on."""
        return self.ask("SELECT done, checkpoint FROM lane WHERE run = 1")[0][1] > 0

    def find_settled(self) -> set[int]:
        """Return the positions that are settled on record of the replay."""
        [(done, checkpoint)] = self.ask("SELECT done, checkpoint FROM lane WHERE run = 1")
        above = [range(first, last + 1) for first, last in json.loads(done)]
        return set(range(1, checkpoint + 1)).union(*above)

    def find(self) -> Replay:
        """Return the replay as it is on record."""
        return Replays(self.log).find(1)


@pytest.fixture
def scene(tmp_path: Path, empty_database: Path) -> Iterator[Scene]:
    """A log full of events, and plugins that no worker has run yet."""
    shutil.copy(empty_database, tmp_path / "router.db")
    (tmp_path / "router.toml").write_text('plugins_dir = ["handlers"]\n')
    (tmp_path / "handlers").mkdir()
    for name in (REPLAYED, BESIDE):
        source = PLUGIN.substitute(name=name, held=HELD)
        (tmp_path / "handlers" / f"{name}.py").write_text(source)
    append(tmp_path, events=EVENTS, subjects=SUBJECTS)
    scene = Scene(tmp_path)
    yield scene
    scene.log.store.close()


def test_a_killed_replay_goes_on_where_it_was(scene: Scene) -> None:
    """Nothing is lost, what is on record is not handled again, and live delivery goes on."""
    with scene.working() as worker:
        scene.wait(worker, lambda: all(scene.checkpoints.values()))
        replays = Replays(scene.log)
        replays.start(replays.plan(REPLAYED), reason="a test", by="me", rate=RATE)
        scene.deliver_live(worker)
        scene.wait(worker, lambda: len(scene.replay.handled) >= EVENTS // 2 and scene.is_recorded)
        assert scene.find().state == "running"
        worker.kill()
    scene.replay.refresh()
    settled, handled = scene.find_settled(), set(scene.replay.handled)
    assert settled <= handled
    assert scene.find().done == len(settled) > 0
    print(f"\nkilled when {len(handled)} were handled, {len(settled)} on record", end="")  # noqa: T201  # for -s

    with scene.working() as worker:
        scene.deliver_live(worker)
        assert scene.find().state == "running"
        scene.let_go()
        scene.wait(worker, lambda: scene.find().is_finished)
        worker.stop()

    check_replay(scene, repeated=handled - settled)
    check_live(scene)


def check_replay(scene: Scene, *, repeated: set[int]) -> None:
    """Check that each event was handled, and none again but what the kill took off the record."""
    journal, replay = scene.replay, scene.find()
    journal.refresh()
    assert set(journal.handled) == set(range(1, EVENTS + 1))
    assert {position for position, count in journal.handled.items() if count > 1} == repeated
    assert journal.repeats == len(repeated)
    assert journal.lives == 2
    assert list(find_breaches(journal.lines))[:5] == []
    assert (replay.state, replay.total, replay.done, replay.failed) == ("done", EVENTS, EVENTS, 0)
    assert replay.by_type == {"message": {"done": EVENTS}}


def check_live(scene: Scene) -> None:
    """Check that live delivery went on by what was appended meanwhile, and by nothing else."""
    head = EVENTS + 2 * LIVE_EVENTS
    for name, journal in scene.live.items():
        assert set(journal.handled) == set(range(EVENTS + 1, head + 1))
        assert list(find_breaches(journal.lines)) == []
        found = scene.checkpoints[name]
        assert (found[0], found[-1]) == (EVENTS, head)
        assert found == sorted(found)
    assert sorted(scene.ask("SELECT subscription, checkpoint FROM lane")) == [
        (BESIDE, head),
        (REPLAYED, head),
    ]
