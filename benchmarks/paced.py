"""Paced: how soon 3,300 notifications a second are answered, the peak of one busy number."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from functools import partial
from statistics import median

import msgspec

from benchmarks import engines, servers, wrk
from benchmarks.engines import Engine
from benchmarks.ingest import BARE, SECRET, name_run
from benchmarks.report import Report, Row, describe_figure
from benchmarks.servers import ROUTER
from benchmarks.watching import Watching

WANTED = 50.0  # milliseconds
WARM = 2  # seconds
REACHED = 0.97  # of the rate, at least, or the server has not kept up


class Run(msgspec.Struct, frozen=True):
    """One server under a load of a rate that is given.

    Attributes:
        rate: Notifications answered 200 a second.
        p50: Milliseconds from sent to answered.
        p99: Likewise.
        late: Milliseconds that 99 of 100 were at most sent late, for want of a free connection.
        busy: The share of time in which the server's loop did not wait for sockets.
    """

    rate: float
    p50: float
    p99: float
    late: float
    busy: float

    @property
    def most(self) -> float:
        """The p99 from due to answered, in milliseconds, at most."""
        return self.p99 + self.late


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each server")
    parser.add_argument("--rate", type=int, default=3_300, help="notifications a second")
    parser.add_argument("--connections", type=int, default=256)
    parser.add_argument("--seconds", type=int, default=8, help="of load in each run")
    parser.add_argument("--hmac", choices=("off", "on"), default="on")
    parser.add_argument("--engine", choices=engines.NAMES, nargs="+", default=list(engines.NAMES))
    engines.add_memory_option(parser)


def measure(chosen: Namespace) -> Report:
    """Load the router on each engine, and beside it the bare endpoint."""
    wrk.require_wrk()
    rows: list[Row] = []
    findings: list[str] = []
    for name in chosen.engine:
        with engines.running(name, on_disk=not chosen.memory) as engine:
            runs = _load_both(engine, chosen)
        rows += [_describe(f"{name}: {server}", each) for server, each in runs.items()]
        slow = [run for run in runs[ROUTER] if run.rate < REACHED * chosen.rate]
        most = [run.most for run in runs[ROUTER]]
        said = f"{name}: p99 ms, from due, at {chosen.rate:,}/s"
        findings.append(describe_figure(said, most, wanted=WANTED, at_most=True))
        if slow:
            findings.append(f"{name}: {len(slow)} of {len(most)} runs did not reach the rate")
    return Report(rows, findings)


def _load_both(engine: Engine, chosen: Namespace) -> dict[str, list[Run]]:
    runs: dict[str, list[Run]] = {ROUTER: [], BARE: []}
    for at in range(chosen.pairs):
        for name, each in runs.items():
            run = _load(engine, name, chosen)
            each.append(run)
            said = f"{run.rate:8.0f}/s, p99 {run.p99:.1f} ms, late {run.late:.0f} ms"
            print(f"{at + 1}/{chosen.pairs} {name:10} {said}", file=sys.stderr)
    return runs


def _load(engine: Engine, name: str, chosen: Namespace) -> Run:
    secret = SECRET if chosen.hmac == "on" else ""
    rate, connections = chosen.rate, chosen.connections
    with engine.fresh() as database, servers.serving(name, database, secret=secret) as served:
        port, server = served
        send = partial(wrk.load, port, connections=connections, secret=secret, rate=rate)
        send(seconds=WARM, run=name_run())
        with Watching(server.pid) as watching:
            load = send(seconds=chosen.seconds, run=name_run())
    if load.errors or not load.requests:
        sys.exit(f"{name}: {load.errors} errors in {load.requests} requests: the run is void")
    return Run(load.rate, load.p50, load.p99, load.late, watching.busy)


def _describe(name: str, runs: Sequence[Run]) -> Row:
    run = Run(*(median(getattr(run, key) for run in runs) for key in Run.__struct_fields__))
    most = [one.most for one in runs]
    return {
        "server": name,
        "rate/s": run.rate,
        "p50 ms": run.p50,
        "p99 ms": run.p99,
        "late p99 ms": run.late,
        "from due p99 ms": median(most),
        "from": min(most),
        "to": max(most),
        "loop busy": run.busy,
    }
