"""Transactional: how soon 1,000 a second are answered while a plugin writes them down."""

import os
import sqlite3
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import msgspec

from benchmarks import processes
from benchmarks.delivery.load import Load, Sending
from benchmarks.delivery.runs import temporary_folder
from benchmarks.delivery.served import Record, serving
from benchmarks.notifications import make_log
from benchmarks.report import Report, Row, find_quantile

TARGET = 25.0  # milliseconds
QUIET = 0.05  # of a core: where everything else took more, the latencies are its, too
WARM = 2  # seconds
NAME = "upsert"
TABLE = """
CREATE TABLE message_state (
    id TEXT PRIMARY KEY, status TEXT, position INTEGER, changes INTEGER, waited REAL
)
"""
PLUGIN = '''
import time
from router import hookimpl

STATE = """
INSERT INTO message_state VALUES (?, ?, ?, 1, ?) ON CONFLICT (id) DO UPDATE SET
status = excluded.status, position = excluded.position,
changes = changes + 1, waited = max(waited, excluded.waited)
"""

@hookimpl
def on_event(event, connection):
    waited = time.time() - event.notification.received_at.timestamp()
    state = (event.external_id, event.subtype or event.type, event.position, waited)
    connection.exec_driver_sql(STATE, state)
'''


class Outcome(msgspec.Struct, frozen=True):
    """What became of one load.

    Attributes:
        load: Of the sender.
        cpu: Seconds of the server's processor time for each second of load.
        others: Likewise of all else on the machine; what is not near 0 has spoilt the run.
        lags: How many events the plugin was behind, second by second.
        waited: Seconds from received to handled, of each message's slowest event.
        missing: How many more events there were than were handled, 10 s after the load.
    """

    load: Load
    cpu: float
    others: float
    lags: Sequence[int]
    waited: Sequence[float] = ()
    missing: int = 0


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=2, help="alternating runs of each")
    parser.add_argument("--rate", type=int, default=1_000, help="notifications a second")
    parser.add_argument("--seconds", type=int, default=40, help="of load in each run")


def measure(chosen: Namespace) -> Report:
    """Load a bare endpoint, a router that only receives, and one that delivers, in turn."""
    rows: list[Row] = []
    quiet: list[float] = []
    for at in range(chosen.pairs):
        for name, run in (("bare", _run_bare), ("receives", _receive), ("delivers", _deliver)):
            with temporary_folder() as folder:
                sync = _probe_disk(folder / "probe")
                found = run(folder, rate=chosen.rate, seconds=chosen.seconds)
            rows.append({**_sum_up(f"{name} {at + 1}", found), "fdatasync p99 ms": sync})
            print(msgspec.json.encode(rows[-1]).decode(), file=sys.stderr)
            if name == "delivers" and found.others <= QUIET:
                quiet.append(find_quantile(found.load.latencies, 0.99))
    return Report(rows, [_judge(quiet, runs=chosen.pairs)])


def _judge(quiet: Sequence[float], *, runs: int) -> str:
    """Say what the runs show beside which nothing else was at work."""
    if not quiet:
        return f"p99 of the 200: not measurable here, others took more than {QUIET:g} of a core"
    found = " to ".join(f"{one:.1f}" for one in sorted({min(quiet), max(quiet)}))
    counted = f"in the {len(quiet)} of {runs} runs in which others took at most {QUIET:g} of a core"
    return f"p99 of the 200 with the plugin, {counted}: {found} ms; wanted {TARGET:.0f} ms"


def _run_bare(folder: Path, *, rate: int, seconds: int) -> Outcome:
    port = processes.find_free_port()
    command = [*processes.BASELINE, "bare", "none", str(port)]
    with processes.running(command, folder, port=port) as server:
        return _load(port, server.pid, rate=rate, seconds=seconds, look=lambda: 0)


def _receive(folder: Path, *, rate: int, seconds: int) -> Outcome:
    make_log(folder)
    with serving(folder, {NAME: PLUGIN}, delivers=False) as (port, server):
        return _load(port, server.pid, rate=rate, seconds=seconds, look=lambda: 0)


def _deliver(folder: Path, *, rate: int, seconds: int) -> Outcome:
    make_log(folder)
    with closing(sqlite3.connect(folder / "router.db")) as database:
        database.execute(TABLE)
    record = Record(folder)
    with serving(folder, {NAME: PLUGIN}) as (port, server):
        found = _load(port, server.pid, rate=rate, seconds=seconds, look=lambda: record.lag(NAME))
        for _ in range(20):
            if not record.lag(NAME):
                break
            time.sleep(0.5)
    waited = [float(str(row[0])) for row in record.ask("SELECT waited FROM message_state")]
    handled = record.count("SELECT sum(changes) FROM message_state")
    missing = record.count("SELECT position FROM head") - handled
    return msgspec.structs.replace(found, waited=waited, missing=missing)


def _load(port: int, pid: int, *, rate: int, seconds: int, look: Callable[[], int]) -> Outcome:
    Sending(port, rate=100, seconds=WARM, first=0).finish()
    lags = [0]
    cpu, children, machine = _read_times(pid)
    sending = Sending(port, rate=rate, seconds=seconds, first=3_000)
    while not sending.is_over:
        time.sleep(1)
        lags.append(look())
    load = sending.finish()
    now = _read_times(pid)
    cpu, children, machine = now[0] - cpu, now[1] - children, now[2] - machine
    others = max(0.0, machine - cpu - children)
    return Outcome(load, cpu / seconds, others / seconds, lags)


def _read_times(pid: int) -> tuple[float, float, float]:
    """Return the processor time of the server, of senders that have ended, and of all there is."""
    machine = processes.read_machine_cpu()
    return processes.read_cpu(pid), processes.read_children_cpu(), machine


def _probe_disk(file: Path) -> float:
    """Return the milliseconds below which 99% of small durable writes stay just now."""
    took = []
    with file.open("wb", buffering=0) as disk:
        for _ in range(500):
            disk.write(bytes(4096))
            began = time.perf_counter()
            os.fdatasync(disk.fileno())
            took.append((time.perf_counter() - began) * 1000)
    return find_quantile(took, 0.99)


def _sum_up(name: str, found: Outcome) -> Row:
    answers = found.load.latencies
    return {
        "run": name,
        "answered": len(answers),
        "refused": found.load.refused,
        "p50 ms": find_quantile(answers, 0.5),
        "p99 ms": find_quantile(answers, 0.99),
        "max ms": max(answers),
        "sender late p99": find_quantile(found.load.late, 0.99),
        "cpu": found.cpu,
        "others": found.others,
        "lag max": max(found.lags),
        "lag at end": found.lags[-1],
        "handled p99 ms": find_quantile(found.waited, 0.99) * 1000 if found.waited else 0.0,
        "missing": found.missing,
    }
