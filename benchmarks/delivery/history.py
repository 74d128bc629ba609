"""Replays of the log of a router that runs, and takes notifications meanwhile."""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.delivery.load import Load, Sending
from benchmarks.delivery.served import serving
from benchmarks.notifications import draw_recipients, make_log
from benchmarks.processes import read_cpu, read_rss
from router.log import EventLog
from router.replay import Replays
from router.replay_record import Replay

NAME = "noop"
SUBJECTS = 5_000
WARM = 2  # seconds of load before anything is replayed
PLUGIN = """
import json, time
from router import hookimpl

waits = []

@hookimpl
def subscription_options():
    return {"replay": "allow"}

@hookimpl
def on_event(event):
    if event.replay is None:
        waits.append(time.time() - event.received_at.timestamp())

@hookimpl
def on_stop():
    with open("waits.json", "w") as file:
        json.dump(waits, file)
"""


class Found(msgspec.Struct, frozen=True):
    """What was seen during replays.

    Attributes:
        replays: As they ended.
        seconds: From the first start to the last end.
        cpu: Seconds of the server's processor time meanwhile.
        rss: MiB, sampled.
        waits: Seconds from a live notification's arrival to its handler, one for each.
        load: What became of the live notifications.
    """

    replays: Sequence[Replay]
    seconds: float
    cpu: float
    rss: Sequence[float]
    waits: Sequence[float]
    load: Load

    @property
    def rate(self) -> float:
        """Events a second, of all replays together."""
        return sum(one.done for one in self.replays) / self.seconds


def fill(folder: Path, *, events: int) -> None:
    """Make a log of so many events in ``folder``, unless it is there already."""
    if not (folder / "router.db").exists():
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        make_log(folder, islice(draw_recipients(SUBJECTS), events))
        print(f"{events} appended in {time.monotonic() - began:.0f} s", file=sys.stderr)


def replay(folder: Path, *, events: int, replays: int, rate: int) -> Found:
    """Replay the first ``events`` of the log so many times at once, under a live load.

    Args:
        folder: Where the log is.
        events: How many each replay hands over.
        replays: How many there are.
        rate: Live notifications a second.
    """
    # The sender ends before the plugin's last word; what it sends beyond the replays counts, too.
    with serving(folder, {NAME: PLUGIN}) as (port, server), _opened(folder) as log:
        first = 3 * log.head()
        Sending(port, rate=rate, seconds=WARM, first=first).finish()
        numbers = _start(log, events=events, replays=replays)
        began, cpu = time.monotonic(), read_cpu(server.pid)
        loads: list[Load] = []
        rss: list[float] = []
        first += rate * WARM
        while True:
            sending = Sending(port, rate=rate, seconds=10, first=first)
            first += rate * 10
            while not sending.is_over:
                time.sleep(0.25)
                rss.append(read_rss(server.pid))
            loads.append(sending.finish())
            found = [Replays(log).find(number) for number in numbers]
            if all(one.is_finished for one in found):
                break
            done = sum(one.done for one in found)
            print(f"{time.monotonic() - began:.0f} s: {done} done", file=sys.stderr)
        cpu = read_cpu(server.pid) - cpu
    ends = [one.finished_at for one in found if one.finished_at is not None]
    starts = [one.created_at for one in found]
    waits = json.loads((folder / "waits.json").read_text())
    seconds = (max(ends) - min(starts)).total_seconds()
    return Found(found, seconds, cpu, rss, waits, _join(loads))


def _start(log: EventLog, *, events: int, replays: int) -> list[int]:
    desk = Replays(log)
    plan = desk.plan(NAME, end=events + 1)
    return [desk.start(plan, reason="measured", by="benchmark").id for _ in range(replays)]


@contextmanager
def _opened(folder: Path) -> Iterator[EventLog]:
    log = EventLog(f"sqlite:///{folder / 'router.db'}")
    try:
        yield log
    finally:
        log.store.close()


def _join(loads: Sequence[Load]) -> Load:
    return Load(
        latencies=[one for load in loads for one in load.latencies],
        late=[one for load in loads for one in load.late],
        refused=sum(load.refused for load in loads),
    )
