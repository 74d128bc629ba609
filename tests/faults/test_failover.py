"""The primary server of a log dies under load, and its standby is promoted: nothing is lost."""

import asyncio
import itertools
import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from signal import SIGKILL
from typing import NamedTuple

import pytest

from tests import databases
from tests.clusters import Cluster, serving
from tests.faults import fleet
from tests.faults.beside import wait
from tests.faults.record import Record
from tests.faults.traffic import Traffic
from tests.faults.worker import EFFECTS, PLAIN, make_effects, write_plugins

pytestmark = pytest.mark.slow

SUBJECTS, SENDERS, MORE = 50, 8, 500
STANDBY = "second"


class Pair(NamedTuple):
    """A primary server, and a standby without which nothing is committed."""

    primary: Cluster
    standby: Cluster

    @property
    def url(self) -> str:
        """The URL of the database on whichever of them takes writes."""
        hosts = "&".join(f"host=127.0.0.1:{one.port}" for one in self)
        return f"postgresql+psycopg://postgres@/postgres?{hosts}&target_session_attrs=read-write"


def is_synchronous(primary: Cluster) -> bool:
    """Whether each commit on it waits for the standby."""
    rows = Record(primary.url("postgres")).ask(
        "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
    )
    return rows == [(1,)]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A pair with an empty log."""
    binaries = databases.find_binaries()
    with ExitStack() as stack:
        primary = stack.enter_context(serving(binaries))
        standby = Cluster(binaries)
        stack.callback(standby.close)
        standby.follow(primary, name=STANDBY)
        standby.start()
        primary.configure(synchronous_standby_names=STANDBY)
        wait(lambda: is_synchronous(primary))
        databases.make_empty(Pair(primary, standby).url)
        yield Pair(primary, standby)


def test_a_promoted_standby_has_all_that_was_answered(tmp_path: Path, pair: Pair) -> None:
    """Nothing acknowledged is lost, effects are there once, and both go on by themselves."""
    fleet.configure(tmp_path, pair.url)
    write_plugins(tmp_path, failing=0.01, plugins=(PLAIN, EFFECTS))
    make_effects(pair.url)
    stopped = threading.Event()
    numbers = itertools.takewhile(lambda _: not stopped.is_set(), itertools.count(1))
    with fleet.running(tmp_path, receivers=2, workers=2) as found:
        chance = random.Random(1)  # noqa: S311  # the same each time
        ports = [member.port for member in found.receivers]
        traffic = Traffic(ports, subjects=SUBJECTS, chance=chance)
        send = traffic.send(numbers, senders=SENDERS)
        thread = threading.Thread(target=asyncio.run, args=(send,), daemon=True)
        thread.start()
        wait(lambda: len(traffic.answered) >= MORE)
        pair.primary.stop(SIGKILL)
        killed_at, answered = time.monotonic(), len(traffic.answered)
        pair.standby.promote()
        promoted_at = time.monotonic()
        wait(lambda: len(traffic.answered) >= answered + MORE)
        stopped.set()
        thread.join()
        record = Record(pair.standby.url("postgres"))
        wait(record.is_delivered)
    record.check_log(must=set(traffic.answered), may=set())
    record.check_effects()
    first = min(moment for moment in traffic.answers if moment > promoted_at)
    print(  # noqa: T201  # for -s
        f"\nno 200 for {traffic.longest_gap:.2f} s; promoted {promoted_at - killed_at:.2f} s after"
        f" the kill, and answered {first - promoted_at:.2f} s after that"
    )
