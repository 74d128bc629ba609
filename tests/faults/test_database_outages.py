"""The PostgreSQL server of a log is stopped, dies, or stands still; all goes on by itself after it.

With ROUTER_TEST_SIZE=full the server stays away for a minute each time.
"""

import asyncio
import itertools
import os
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from signal import SIGINT, SIGQUIT, Signals

import pytest

from tests import databases
from tests.clusters import Cluster, serving
from tests.faults import fleet
from tests.faults.beside import beside, wait
from tests.faults.fleet import Fleet, Member
from tests.faults.journal import Journal, find_breaches
from tests.faults.record import Record
from tests.faults.traffic import Traffic, make_body
from tests.faults.worker import AWAITING, EFFECTS, PLAIN, make_effects, write_plugins

pytestmark = pytest.mark.slow

AWAY = 60.0 if os.environ.get("ROUTER_TEST_SIZE") == "full" else 3.0  # seconds
SUBJECTS, SENDERS = 50, 8
PROBE = 1_000_000  # the number of the first notification that is not part of the traffic
# What did not wait for the disk stays away from it, so that a crash undoes it.
LAZY = {"wal_writer_delay": "10000ms", "wal_writer_flush_after": "1GB"}


class Scene:
    """A fleet under traffic, and the server that its log is on.

    Attributes:
        traffic: What is sent.
        probes: The numbers of the notifications that were sent beside it, by their status.
        slowest: Seconds that an answer to one of these took at most.
    """

    def __init__(self, folder: Path, cluster: Cluster, url: str, found: Fleet) -> None:
        ports = [member.port for member in found.receivers]
        chance = random.Random(1)  # noqa: S311  # the same each time
        self.cluster = cluster
        self.fleet = found
        self.record = Record(url)
        self.traffic = Traffic(ports, subjects=SUBJECTS, chance=chance)
        self.probes: dict[int, int] = {}
        self.slowest = 0.0
        self._journals = [Journal(folder / f"{name}.txt") for name in (PLAIN, AWAITING)]
        self._stopped = threading.Event()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Send while the block lasts."""
        numbers = itertools.takewhile(lambda _: not self._stopped.is_set(), itertools.count(1))
        send = self.traffic.send(numbers, senders=SENDERS)
        with beside(partial(asyncio.run, send), self._stopped):
            yield

    def grow(self) -> None:
        """Wait until some more of the traffic was answered 200 and handled."""
        sent, effects = len(self.traffic.answered) + 200, self.record.count("effect") + 200
        wait(lambda: len(self.traffic.answered) >= sent)
        wait(lambda: self.record.count("effect") >= effects)

    def post(self, member: Member) -> int:
        """Send a notification of its own and return its status."""
        number = PROBE + len(self.probes)
        answer = member.post(make_body(number, subjects=SUBJECTS))
        self.probes[number] = answer.status
        self.slowest = max(self.slowest, answer.seconds)
        if answer.status == 503:
            assert int(answer.retry_after or 0) > 0
        return answer.status

    def check_away(self) -> None:
        """Check what receivers answer while there is no server."""
        end = time.monotonic() + AWAY
        while time.monotonic() < end:
            for member in self.fleet.receivers:
                assert self.post(member) == 503
                assert member.ask("/livez").status == 200
                assert member.ask("/readyz").status == 503
            time.sleep(0.1)

    def check_back(self) -> float:
        """Check that all goes on by itself; return after how many seconds all receivers did."""
        waited = wait(lambda: all(self.post(one) == 200 for one in self.fleet.receivers))
        wait(lambda: all(one.ask("/readyz").status == 200 for one in self.fleet.receivers))
        self.grow()
        for member in self.fleet.members:
            member.require_alive()
        return waited

    def check(self) -> None:
        """Check what is promised, once all is delivered."""
        wait(self.record.is_delivered)
        self.record.check_effects()
        must = {number for number, status in self.probes.items() if status == 200}
        self.record.check_log(must=must | self.traffic.answered.keys(), may=set(self.probes))
        for journal in self._journals:
            journal.refresh()
            assert list(find_breaches(journal.lines, is_record_kept=False))[:5] == []
            assert journal.handled.keys() == set(range(1, self.record.head() + 1))


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    """Two receivers and two workers on a server of their own."""
    with serving(databases.find_binaries(), **LAZY) as cluster:
        url = cluster.url("postgres")
        databases.make_empty(url)
        make_effects(url)
        fleet.configure(tmp_path, url)
        write_plugins(tmp_path, failing=0.01, plugins=(PLAIN, AWAITING, EFFECTS))
        with fleet.running(tmp_path, receivers=2, workers=2) as found:
            yield Scene(tmp_path, cluster, url, found)


@pytest.mark.parametrize("signal", [SIGINT, SIGQUIT], ids=["fast", "immediate"])
def test_a_server_that_was_away_is_waited_for(scene: Scene, signal: Signals) -> None:
    """Receivers answer 503 and are alive meanwhile; nothing is lost, and effects are there once."""
    with scene.busy():
        scene.grow()
        scene.cluster.stop(signal)
        scene.check_away()
        scene.cluster.start()
        waited = scene.check_back()
    scene.check()
    print(  # noqa: T201  # for -s
        f"\naway for {AWAY:g} s: the slowest 503 took {scene.slowest:.2f} s, in the traffic"
        f" {scene.traffic.slowest:.2f} s; 200 again {waited:.2f} s after the server's start"
    )


def test_a_server_that_stands_still_keeps_nobody_waiting(scene: Scene) -> None:
    """Requests are answered 503 although the server says neither yes nor no; then all goes on."""
    with scene.busy():
        scene.grow()
        with scene.cluster.standing_still():
            for member in scene.fleet.receivers:
                assert scene.post(member) == 503
                assert member.ask("/livez").status == 200
                assert member.ask("/readyz").status == 503
        waited = scene.check_back()
    scene.check()
    print(  # noqa: T201  # for -s
        f"\nthe slowest 503 took {scene.slowest:.2f} s; 200 again after {waited:.2f} s"
    )
