"""Simulate: what `router simulate` sends from one core to a bare endpoint on another."""

import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

import msgspec

from benchmarks import processes
from benchmarks.processes import find_free_port, read_children_cpu
from benchmarks.report import Report, Row
from router.testing.coreapp.ledger import Summary

SENDER, RECEIVER = 0, 1  # cores
SECRET = "benchmark"  # noqa: S105  # nobody's: the load is signed with it on the same machine
GRACE = 60  # seconds that the last answers may take


class Run(msgspec.Struct, frozen=True):
    """One simulation.

    Attributes:
        rate: Notifications a second that were wanted.
        seconds: For which they were due.
        cpu: Seconds of the sender's processor time, its start included.
        summary: Of its ledger.
    """

    rate: int
    seconds: int
    cpu: float
    summary: Summary

    @property
    def answered(self) -> float:
        """Notifications a second, at least: none was answered later after the last was due."""
        longest = self.summary.latency_ms.max or 0.0
        return self.summary.acknowledged / (self.seconds + longest / 1000)


class _Answer(msgspec.Struct, frozen=True):
    """What the command prints as JSON."""

    data: Summary


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--rates", type=int, nargs="+", default=[3_000, 8_000], metavar="RATE")
    parser.add_argument("--runs", type=int, default=3, help="of each rate")
    parser.add_argument("--seconds", type=int, default=10, help="of traffic in each run")
    parser.add_argument("--seed", type=int, default=7)


def measure(chosen: Namespace) -> Report:
    """Send at every rate in turn, to a fresh endpoint each time."""
    runs: list[Run] = []
    for at in range(chosen.runs):
        for rate in chosen.rates:
            run = simulate(rate=rate, seconds=chosen.seconds, seed=chosen.seed)
            runs.append(run)
            print(f"{at + 1}/{chosen.runs} {rate:8} {run.answered:8.0f}/s", file=sys.stderr)
    runs.sort(key=lambda run: run.rate)
    return Report([describe(run) for run in runs], [compare(runs)])


def simulate(*, rate: int, seconds: int, seed: int) -> Run:
    """Run the command beside a bare endpoint, each on a core of its own."""
    port = find_free_port()
    baseline = [*processes.BASELINE, "bare", "none", str(port)]
    command = [
        *(*processes.ROUTER, "simulate", "--to", f"http://127.0.0.1:{port}/webhooks/wa"),
        *("--rate", str(rate), "--for", f"{seconds}s", "--seed", str(seed), "--secret", SECRET),
        *("--grace", f"{GRACE}s", "--json"),
    ]
    with tempfile.TemporaryDirectory(prefix="router-bench-") as name:
        folder = Path(name)
        with processes.running(pin(baseline, RECEIVER), folder, port=port):
            before = read_children_cpu()  # the endpoint's comes later, when it has ended
            done = subprocess.run(
                pin(command, SENDER), cwd=folder, capture_output=True, check=False
            )
            cpu = read_children_cpu() - before
    if done.returncode:
        sys.exit(f"not all was acknowledged, and the run is void: {done.stderr.decode()}")
    summary = msgspec.json.decode(done.stdout, type=_Answer).data
    if summary.retried:
        sys.exit(f"{summary.failures}: the run is void")
    return Run(rate, seconds, cpu, summary)


def pin(command: list[str], core: int) -> list[str]:
    """Return the command that runs ``command`` on one core."""
    return ["taskset", "-c", str(core), *command]


def describe(run: Run) -> Row:
    """Return the figures of one run."""
    summary = run.summary
    return {
        "wanted/s": run.rate,
        "answered/s": run.answered,
        "notifications": summary.notifications,
        "cpu s": run.cpu,
        "cpu s/100k": run.cpu / summary.notifications * 1e5,
        "behind ms": summary.behind_ms,
        "p50 ms": summary.latency_ms.p50 or 0.0,
        "p99 ms": summary.latency_ms.p99 or 0.0,
        "max ms": summary.latency_ms.max or 0.0,
    }


def compare(runs: list[Run]) -> str:
    """Return whether equal seeds have made equal ledgers."""
    digests = {(run.rate, run.summary.digest) for run in runs}
    rates = {run.rate for run in runs}
    return f"{len(runs)} runs of {len(rates)} rates: {len(digests)} different digests"
