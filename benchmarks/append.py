"""Append on PostgreSQL: one and three processes, against endpoints that INSERT once a request."""

import os
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import processes
from benchmarks.ingest import SETTINGS, require_wrk
from benchmarks.processes import find_free_port, read_cpu
from benchmarks.report import Report, Row, describe_ratio
from tests import databases
from tests.clusters import Cluster, Server, find_installed, find_wheel, serving

HERE = Path(__file__).parent
ROUTER = "router"
STORING = ("loop", "threads", "async")
LIBRARY = "eventsourcing"


class Run(msgspec.Struct, frozen=True):
    """Some processes of one kind under load.

    Attributes:
        rate: Notifications answered 200 a second, by all together.
        p50: Milliseconds, of the slowest process.
        p99: Likewise.
        cpu: Seconds of their processor time per 100,000 notifications.
        server: Likewise, that of PostgreSQL.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    server: float


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each kind")
    parser.add_argument("--connections", type=int, default=48, help="of all processes together")
    parser.add_argument("--seconds", type=int, default=4, help="of load in each run")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 3])


def measure(chosen: Namespace) -> Report:
    """Load every kind with each number of processes, and compare the router with the others."""
    require_wrk()
    binaries = find_installed() or find_wheel()
    if binaries is None:
        sys.exit("there is no PostgreSQL: install its server or the development group")
    rows: list[Row] = []
    findings: list[str] = []
    with serving(binaries) as cluster:
        for count in chosen.processes:
            runs = _load_all(
                cluster,
                count,
                pairs=chosen.pairs,
                connections=chosen.connections,
                seconds=chosen.seconds,
            )
            rows += [_make_row(name, count, each) for name, each in runs.items()]
            findings += _compare(runs, count)
    return Report(rows, findings)


def _load_all(
    cluster: Cluster, count: int, *, pairs: int, connections: int, seconds: int
) -> dict[str, list[Run]]:
    names = (ROUTER, *STORING, LIBRARY)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for at in range(pairs):
        for name in names:
            run = _load(cluster, name, count, connections=connections, seconds=seconds)
            runs[name].append(run)
            print(f"{count} x {name:13} {at + 1}/{pairs} {run.rate:8.0f}/s", file=sys.stderr)
    return runs


def _make_row(name: str, count: int, runs: Sequence[Run]) -> Row:
    run = Run(*(median(getattr(one, key) for one in runs) for key in Run.__struct_fields__))
    figures = {"rate/s": run.rate, "p50 ms": run.p50, "p99 ms": run.p99}
    spent = {"cpu s/100k": run.cpu, "server cpu s/100k": run.server}
    return {"server": f"{count} x {name}", **figures, **spent}


def _compare(runs: dict[str, list[Run]], count: int) -> list[str]:
    best = max(STORING, key=lambda name: median(run.rate for run in runs[name]))
    found = []
    for baseline in (best, LIBRARY):
        pairs = zip(runs[ROUTER], runs[baseline], strict=True)
        each = [mine.rate / theirs.rate for mine, theirs in pairs]
        found.append(describe_ratio(f"{count} x router / {count} x {baseline}", each))
    return found


def _load(cluster: Cluster, name: str, count: int, *, connections: int, seconds: int) -> Run:
    server = Server(cluster.url("postgres"))
    database = server.make()
    try:
        with _serving(cluster, name, count, database) as servers:
            ports, pids = zip(*servers, strict=True)
            _wrk(ports, connections=connections, seconds=1, run="warm")
            before, server_before = sum(map(read_cpu, pids)), _read_server_cpu(cluster)
            results = _wrk(ports, connections=connections, seconds=seconds, run="load")
            spent = sum(map(read_cpu, pids)) - before
            server_spent = _read_server_cpu(cluster) - server_before
    finally:
        server.drop(database)
    requests = sum(one[0] for one in results)
    if sum(one[4] for one in results) or not all(one[0] for one in results):
        sys.exit(f"{name}: errors in {requests} requests: the run is void")
    return Run(
        sum(one[0] / one[1] * 1e6 for one in results),
        max(one[2] for one in results) / 1e3,
        max(one[3] for one in results) / 1e3,
        spent / requests * 1e5,
        server_spent / requests * 1e5,
    )


@contextmanager
def _serving(
    cluster: Cluster, name: str, count: int, database: str
) -> Iterator[list[tuple[int, int]]]:
    """Run ``count`` processes of a kind and yield the port and the pid of each."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="router-bench-")))
        if name == ROUTER:
            url = cluster.url(database)
            databases.make_empty(url)
            (folder / "router.toml").write_text(f'database = "{url}"\n{SETTINGS}')
        found = []
        for _ in range(count):
            port = find_free_port()
            command = [sys.executable, str(HERE / "baselines.py"), name]
            command += [cluster.dsn(database), str(port)]
            if name == ROUTER:
                command = [*processes.ROUTER, "serve", "--no-worker", "--port", str(port)]
            server = stack.enter_context(processes.running(command, folder, port=port))
            found.append((port, server.pid))
        yield found


def _wrk(ports: Sequence[int], *, connections: int, seconds: int, run: str) -> list[list[int]]:
    """Load all ports at once, and return what wrk tells of each."""
    script = str(HERE / "notifications.lua")
    started = [
        subprocess.Popen(
            [
                *("wrk", "-t1", f"-c{connections // len(ports)}", f"-d{seconds}s", "-s", script),
                *(f"http://127.0.0.1:{port}", "--", f"{run}{port}"),
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        for port in ports
    ]
    found = []
    for one in started:
        output, _ = one.communicate(timeout=seconds + 60)
        line = next(line for line in output.splitlines() if line.startswith("RESULT"))
        found.append([int(word) for word in line.split()[1:]])
    return found


def _read_server_cpu(cluster: Cluster) -> float:
    """Return the processor time of PostgreSQL so far, of its ended processes too, in seconds."""
    postmaster = int((cluster.data / "postmaster.pid").read_text().splitlines()[0])
    ticks = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        if int(folder.name) == postmaster:
            ticks += sum(map(int, fields[11:15]))
        elif int(fields[1]) == postmaster:
            ticks += sum(map(int, fields[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")
