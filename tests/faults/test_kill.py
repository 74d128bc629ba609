"""A server is killed again and again under load: what it answered 200 is there, once, and handled.

`kill -9` leaves the operating system's caches alone; whether commits reach the disk is the question
of `test_durability`. In CI there are twenty kills, as ROUTER_TEST_SIZE has it.
"""

import asyncio
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from router.events import Event
from router.log import EventLog
from tests import samples
from tests.faults import mutants
from tests.faults.server import CONFIG, Server, load, serve
from tests.sizes import choose
from tests.waiting import until

KILLS = choose(5, ci=20)
SENDERS = 16
LEAST, STEP = 40, 13  # notifications answered before the first kill, and how many more each time

PLUGIN = """
from router import hookimpl

@hookimpl
def subscription_options():
    return {"start": "beginning"}

@hookimpl
def on_event(event):
    with open("handled.txt", "a") as handled:
        handled.write(event.id + "\\n")
"""


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Path:
    """A folder to serve from, with a plugin that writes down each event that it handles."""
    shutil.copy(empty_database, tmp_path / "router.db")
    (tmp_path / "router.toml").write_text(CONFIG)
    (tmp_path / "handlers").mkdir()
    (tmp_path / "handlers" / "scribe.py").write_text(PLUGIN)
    return tmp_path


def notifications() -> Iterator[bytes]:
    """Yield notifications without end, no two of which are alike."""
    for number in itertools.count(1):
        yield json.dumps({"messages": [samples.text_message(number)]}).encode()


class Sender:
    """Loads a server until it is killed, and remembers what was answered and what was not."""

    def __init__(self) -> None:
        self.answered: list[bytes] = []
        self.lost: list[bytes] = []
        self._bodies = notifications()

    def send_until_killed(self, server: Server, *, after: int) -> None:
        """Load ``server`` and kill it as soon as so many notifications more are answered."""
        end = len(self.answered) + after

        def note(body: bytes) -> None:
            self.answered.append(body)
            if len(self.answered) == end:
                server.kill()

        self.lost += asyncio.run(load(server, self._bodies, senders=SENDERS, answered=note))

    def send_again(self, server: Server) -> None:
        """Send what was not answered once more, as a provider does."""
        again, self.lost = iter(self.lost), []
        self.lost = asyncio.run(load(server, again, senders=1, answered=self.answered.append))


def read_handled(folder: Path) -> list[str]:
    """Return the ids that the plugin has written down."""
    handled = folder / "handled.txt"
    return handled.read_text().splitlines() if handled.exists() else []


def test_what_was_answered_is_there_once_and_handled(folder: Path) -> None:
    """Many times kill -9 under load lose nothing, double nothing, and leave no gap."""
    options = ("--plugins-dir", "handlers")
    sender = Sender()
    for kill in range(KILLS):
        with serve(folder, *options) as server:
            sender.send_until_killed(server, after=LEAST + STEP * kill)
    log = EventLog(f"sqlite:///{folder / 'router.db'}")
    check(log, must=sender.answered, may=sender.lost)
    unanswered = len(sender.lost)
    with serve(folder, *options) as server:
        sender.send_again(server)
        assert sender.lost == []
        events = check(log, must=sender.answered, may=[])
        wanted = {event.id for event in events}
        asyncio.run(until(lambda: wanted <= set(read_handled(folder)), seconds=300))
        server.stop()
    handled = read_handled(folder)
    assert wanted == set(handled)
    print(  # noqa: T201  # for whoever runs it with -s
        f"\n{KILLS} kills: {len(events)} notifications in the log, {unanswered} of which"
        f" were not answered at first; {len(handled)} calls of the handler"
    )
    log.store.close()


def test_a_server_that_answers_first_is_found_out(folder: Path) -> None:
    """With the 200 before the commit one kill is enough to lose what was answered."""
    sender = Sender()
    with serve(folder, program=mutants.ANSWERS_FIRST) as server:
        sender.send_until_killed(server, after=LEAST)
    log = EventLog(f"sqlite:///{folder / 'router.db'}")
    with pytest.raises(AssertionError):
        check(log, must=sender.answered, may=sender.lost)
    log.store.close()


def check(log: EventLog, *, must: list[bytes], may: list[bytes]) -> list[Event]:
    """Check the log against what was answered and what was sent; return its events."""
    events = list(log.read())
    assert [event.position for event in events] == list(range(1, log.head() + 1))
    stored = Counter(event.notification.body for event in events)
    assert set(stored.values()) == {1}
    assert set(must) <= set(stored) <= {*must, *may}
    return events
