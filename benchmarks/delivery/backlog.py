"""Backlog: what one subscription notices of another that always fails, 100,000 events behind."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.delivery.load import Load, Sending
from benchmarks.delivery.runs import temporary_folder
from benchmarks.delivery.served import Record, serving
from benchmarks.notifications import draw_recipients, make_log
from benchmarks.processes import read_rss
from benchmarks.report import Report, Row, find_quantile

TARGET = 1.0  # seconds
ATTEMPTS, FIRST, FACTOR = 3, 1.0, 2.0
HEALTHY = """
import time
from router import hookimpl

LAGS = open("lags.txt", "a", buffering=1 << 16)

@hookimpl
async def on_event(event):
    LAGS.write(f"{time.time() - event.notification.received_at.timestamp():.6f}\\n")

@hookimpl
def on_stop():
    LAGS.close()
"""
FAILING = f"""
from router import hookimpl

@hookimpl
def subscription_options():
    retry = dict(first={FIRST}, factor={FACTOR}, attempts={ATTEMPTS}, jitter=False)
    return dict(start="beginning", retry=retry)

@hookimpl
async def on_event(event):
    raise RuntimeError("as it always does")
"""
DELAYS = """
SELECT b.number, (b.started_at - a.started_at) / 1e6 - a.duration FROM attempt a
JOIN attempt b ON b.subscription = a.subscription AND b.run = a.run
    AND b.position = a.position AND b.number = a.number + 1
"""


class Sample(msgspec.Struct, frozen=True):
    """The state of the router at one moment.

    Attributes:
        rss: MiB.
    """

    rss: float
    retrying: int
    dead: int
    blocked: int
    attempts: int


class Found(msgspec.Struct, frozen=True):
    """One run: what became of the load, each event's lag in seconds, samples, and the record."""

    load: Load
    lags: Sequence[float]
    samples: Sequence[Sample]
    findings: Sequence[str] = ()


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--events", type=int, default=100_000, help="that it is behind")
    parser.add_argument("--subjects", type=int, default=1_000)
    parser.add_argument("--rate", type=int, default=500, help="notifications a second")
    parser.add_argument("--seconds", type=int, default=60, help="of load in each run")


def measure(chosen: Namespace) -> Report:
    """Run the healthy subscription alone, then beside the failing one."""
    with temporary_folder() as alone, temporary_folder() as beside:
        make_log(alone)
        make_log(beside, islice(draw_recipients(chosen.subjects), chosen.events))
        without = _run(alone, {"healthy": HEALTHY}, chosen)
        found = _run(beside, {"healthy": HEALTHY, "failing": FAILING}, chosen)
    rows = [_sum_up("alone", without), _sum_up("beside", found)]
    lag = find_quantile(found.lags, 0.99)
    first = f"p99 of the lag beside the failing one: {lag:.3f} s; wanted {TARGET:.0f} s"
    return Report(rows, [first, *found.findings])


def _run(folder: Path, plugins: dict[str, str], chosen: Namespace) -> Found:
    record = Record(folder)
    samples: list[Sample] = []
    with serving(folder, plugins) as (port, server):
        sending = Sending(port, rate=chosen.rate, seconds=chosen.seconds, first=3 * chosen.events)
        while not sending.is_over:
            time.sleep(1)
            samples.append(_take_sample(record, server.pid))
            if len(samples) % 10 == 0:
                print(msgspec.json.encode(samples[-1]).decode(), file=sys.stderr)
        sent = sending.finish()
        time.sleep(2)
    lags = [float(line) for line in (folder / "lags.txt").read_text().split()]
    findings = _look_at_failures(record) if len(plugins) > 1 else []
    return Found(sent, lags, samples, findings)


def _take_sample(record: Record, pid: int) -> Sample:
    return Sample(
        rss=read_rss(pid),
        retrying=record.count("SELECT count(*) FROM parked WHERE state = 'retry'"),
        dead=record.count("SELECT count(*) FROM parked WHERE state = 'dead'"),
        blocked=record.count("SELECT count(*) FROM blocked"),
        attempts=record.count("SELECT count(*) FROM attempt"),
    )


def _sum_up(name: str, found: Found) -> Row:
    return {
        "healthy": name,
        "sent": len(found.load.latencies),
        "refused": found.load.refused,
        "handled": len(found.lags),
        "lag p50 s": find_quantile(found.lags, 0.5),
        "lag p99 s": find_quantile(found.lags, 0.99),
        "lag max s": max(found.lags),
        "rss MiB": found.samples[0].rss,
        "most": max(one.rss for one in found.samples),
        "retrying": max(one.retrying for one in found.samples),
        "blocked": max(one.blocked for one in found.samples),
        "dead": found.samples[-1].dead,
        "attempts": found.samples[-1].attempts,
    }


def _look_at_failures(record: Record) -> list[str]:
    """Say how the record of the failing subscription compares with its options."""
    made = record.ask("SELECT attempts, count(*) FROM parked WHERE state = 'dead' GROUP BY 1")
    findings = [f"dead letters: {count} after {attempts} attempts" for attempts, count in made]
    findings += [] if made else ["no dead letters"]
    state = record.ask("SELECT state, state_reason FROM subscription WHERE name = 'failing'")
    findings.append(f"the failing subscription is {state[0][0]} ({state[0][1]})")
    delays: dict[int, list[float]] = {}
    for number, seconds in record.ask(DELAYS):
        delays.setdefault(int(str(number)), []).append(float(str(seconds)))
    for number, found in sorted(delays.items()):
        wanted = FIRST * FACTOR ** (number - 2)
        spread = f"{min(found):.2f} to {max(found):.2f} s, median {find_quantile(found, 0.5):.2f} s"
        findings.append(f"attempt {number}: {spread} after the one before; wanted {wanted:.0f} s")
    return findings
