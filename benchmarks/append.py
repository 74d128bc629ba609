"""Append on PostgreSQL: one and three processes, against endpoints that INSERT once a request."""

import subprocess
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from statistics import median

import msgspec

from benchmarks import engines, servers, wrk
from benchmarks.engines import Database, Engine
from benchmarks.processes import read_cpu
from benchmarks.report import Report, Row, describe_ratio
from benchmarks.servers import ROUTER

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
    parser.add_argument("--disk", action="store_true", help="PostgreSQL's files on disk")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 3])


def measure(chosen: Namespace) -> Report:
    """Load every kind with each number of processes, and compare the router with the others."""
    wrk.require_wrk()
    rows: list[Row] = []
    findings: list[str] = []
    with engines.running("postgresql", on_disk=chosen.disk) as engine:
        for count in chosen.processes:
            runs = _load_all(
                engine,
                count,
                pairs=chosen.pairs,
                connections=chosen.connections,
                seconds=chosen.seconds,
            )
            rows += [_make_row(name, count, each) for name, each in runs.items()]
            findings += _compare(runs, count)
    return Report(rows, findings)


def _load_all(
    engine: Engine, count: int, *, pairs: int, connections: int, seconds: int
) -> dict[str, list[Run]]:
    names = (ROUTER, *STORING, LIBRARY)
    runs: dict[str, list[Run]] = {name: [] for name in names}
    for at in range(pairs):
        for name in names:
            run = _load(engine, name, count, connections=connections, seconds=seconds)
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


def _load(engine: Engine, name: str, count: int, *, connections: int, seconds: int) -> Run:
    with engine.fresh() as database, _serving(name, count, database) as found:
        ports, pids = zip(*found, strict=True)
        _load_at_once(ports, connections=connections, seconds=1, run="warm")
        before, server_before = sum(map(read_cpu, pids)), engine.read_cpu()
        results = _load_at_once(ports, connections=connections, seconds=seconds, run="load")
        spent = sum(map(read_cpu, pids)) - before
        server_spent = engine.read_cpu() - server_before
    requests = sum(one.requests for one in results)
    if sum(one.errors for one in results) or not all(one.requests for one in results):
        sys.exit(f"{name}: errors in {requests} requests: the run is void")
    return Run(
        sum(one.rate for one in results),
        max(one.p50 for one in results),
        max(one.p99 for one in results),
        spent / requests * 1e5,
        server_spent / requests * 1e5,
    )


@contextmanager
def _serving(name: str, count: int, database: Database) -> Iterator[list[tuple[int, int]]]:
    """Run ``count`` processes of a kind and yield the port and the pid of each."""
    with ExitStack() as stack:
        found = []
        for _ in range(count):
            served = servers.serving(name, database, options=("--no-worker",))
            port, server = stack.enter_context(served)
            found.append((port, server.pid))
        yield found


def _load_at_once(
    ports: Sequence[int], *, connections: int, seconds: int, run: str
) -> list[wrk.Load]:
    """Load all ports at once, and return what wrk tells of each."""
    each = connections // len(ports)
    started = [
        subprocess.Popen(
            wrk.write_command(port, connections=each, seconds=seconds, run=f"{run}{port}"),
            stdout=subprocess.PIPE,
            text=True,
        )
        for port in ports
    ]
    return [wrk.read_output(one.communicate(timeout=seconds + wrk.GRACE)[0]) for one in started]
