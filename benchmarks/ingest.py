"""Ingest: the router against a bare endpoint and against three that INSERT once a request."""

import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import processes
from benchmarks.processes import find_free_port, read_cpu
from benchmarks.report import Report, Row, describe_ratio

HERE = Path(__file__).parent
ROUTER = "router"
STORING = ("loop", "threads", "aiosqlite")
SETTINGS = '[sources.wa]\nadapter = "whatsapp"\nverification = "none"\nchannel = "+15550100"\n'


class Run(msgspec.Struct, frozen=True):
    """One server under load.

    Attributes:
        rate: Notifications answered 200 a second.
        p50: Milliseconds.
        p99: Milliseconds.
        cpu: Seconds of the server's processor time per 100,000 notifications.
    """

    rate: float
    p50: float
    p99: float
    cpu: float


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each server")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=5, help="of load in each run")


def measure(chosen: Namespace) -> Report:
    """Load every server, and compare the router with the others."""
    runs = load_all(pairs=chosen.pairs, connections=chosen.connections, seconds=chosen.seconds)
    rows: list[Row] = []
    for name, each in runs.items():
        run = take_median(each)
        figures = {"rate/s": run.rate, "p50 ms": run.p50, "p99 ms": run.p99, "cpu s/100k": run.cpu}
        rows.append({"server": name, **figures})
    return Report(rows, compare(runs))


def load_all(*, pairs: int, connections: int, seconds: int) -> dict[str, list[Run]]:
    """Run every server ``pairs`` times, one after another in turn, each on a fresh database."""
    require_wrk()
    names = (ROUTER, "bare", *STORING)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for at in range(pairs):
        for name in names:
            with tempfile.TemporaryDirectory(prefix="router-bench-") as folder:
                run = _load(name, Path(folder), connections=connections, seconds=seconds)
            runs[name].append(run)
            print(f"{at + 1}/{pairs} {name:10} {run.rate:8.0f}/s", file=sys.stderr)
    return runs


def take_median(runs: Sequence[Run]) -> Run:
    """Return the median of each figure."""
    return Run(*(median(getattr(run, key) for run in runs) for key in Run.__struct_fields__))


def compare(runs: dict[str, list[Run]]) -> list[str]:
    """Return the ratios to the bare endpoint and to the best of those that store."""
    best = max(STORING, key=lambda name: median(run.rate for run in runs[name]))
    found = []
    for baseline in ("bare", best):
        pairs = zip(runs[ROUTER], runs[baseline], strict=True)
        each = [mine.rate / theirs.rate for mine, theirs in pairs]
        found.append(describe_ratio(f"router / {baseline}", each))
    return found


def require_wrk() -> None:
    """Stop with advice where there is no load generator."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")


def _load(name: str, folder: Path, *, connections: int, seconds: int) -> Run:
    with _serve(name, folder) as (port, pid):
        _wrk(port, connections=connections, seconds=1, run="warm")
        before = read_cpu(pid)
        requests, micros, p50, p99, errors = _wrk(
            port, connections=connections, seconds=seconds, run="load"
        )
        spent = read_cpu(pid) - before
    if errors or not requests:
        sys.exit(f"{name}: {errors} errors in {requests} requests: the run is void")
    return Run(requests / micros * 1e6, p50 / 1e3, p99 / 1e3, spent / requests * 1e5)


def _wrk(port: int, *, connections: int, seconds: int, run: str) -> list[int]:
    done = subprocess.run(
        [
            *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s"),
            *("-s", str(HERE / "notifications.lua"), f"http://127.0.0.1:{port}", "--", run),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    return [int(word) for word in line.split()[1:]]


@contextmanager
def _serve(name: str, folder: Path) -> Iterator[tuple[int, int]]:
    port = find_free_port()
    command = [sys.executable, str(HERE / "baselines.py"), name, "inbox.db", str(port)]
    if name == ROUTER:
        (folder / "router.toml").write_text(SETTINGS)
        upgrade = [*processes.ROUTER, "db", "upgrade"]
        subprocess.run(upgrade, cwd=folder, check=True, capture_output=True)
        command = [*processes.ROUTER, "serve", "--port", str(port)]
    with processes.running(command, folder, port=port) as server:
        yield port, server.pid
