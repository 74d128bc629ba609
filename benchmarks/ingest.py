"""Ingest: the router against a bare endpoint and against three that INSERT once a request."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import msgspec

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


def measure(*, pairs: int, connections: int, seconds: int) -> dict[str, list[Run]]:
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


class Ratio(msgspec.Struct, frozen=True):
    """The router's rate over a baseline's: the median of the pairs, the lowest, the highest."""

    baseline: str
    median: float
    low: float
    high: float


def compare(runs: dict[str, list[Run]]) -> list[Ratio]:
    """Return the ratios to the bare endpoint and to the best of those that store."""
    best = max(STORING, key=lambda name: median(run.rate for run in runs[name]))
    found = []
    for baseline in ("bare", best):
        pairs = zip(runs[ROUTER], runs[baseline], strict=True)
        each = [mine.rate / theirs.rate for mine, theirs in pairs]
        found.append(Ratio(baseline, median(each), min(each), max(each)))
    return found


def require_wrk() -> None:
    """Stop with advice where there is no load generator."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")


def _load(name: str, folder: Path, *, connections: int, seconds: int) -> Run:
    with _serve(name, folder) as (port, pid):
        _wrk(port, connections=connections, seconds=1, run="warm")
        before = _cpu(pid)
        requests, micros, p50, p99, errors = _wrk(
            port, connections=connections, seconds=seconds, run="load"
        )
        spent = _cpu(pid) - before
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
    port = _free_port()
    if name == ROUTER:
        (folder / "router.toml").write_text(SETTINGS)
        command = [sys.executable, "-c", "from router.cli import main; main()"]
        subprocess.run([*command, "db", "upgrade"], cwd=folder, check=True, capture_output=True)
        command += ["serve", "--port", str(port)]
    else:
        command = [sys.executable, str(HERE / "baselines.py"), name, "inbox.db", str(port)]
    environment = {**os.environ, "ROUTER_LOG_LEVEL": "WARNING"}
    server = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        _wait_for(port, server)
        yield port, server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        if server.poll() is not None:
            sys.exit(f"the server ended with exit code {server.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("the server did not listen within 20 s")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _cpu(pid: int) -> float:
    """Return the processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
