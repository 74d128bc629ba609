"""Ingest: the router against a bare endpoint, three that INSERT once a request, and pywa."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from itertools import compress
from statistics import median

import msgspec

from benchmarks import engines, servers, wrk
from benchmarks.engines import Database, Engine
from benchmarks.processes import read_cpu
from benchmarks.report import Report, Row, describe_ratio
from benchmarks.servers import ROUTER
from benchmarks.watching import Watching

SECRET = "benchmark"  # noqa: S105  # nobody's: the load is signed with it on the same machine
BARE, PYWA = "bare", "pywa"
BUSY = 0.9  # of the time, at least, or a run is void
ON_LOOP = (BARE, PYWA, "loop")  # whose work is on the loop; others wait for threads there
OF_BARE = {"sqlite": 0.5, "postgresql": 0.4}
OF_STORING, OF_PYWA, MOST_CPU = 3.0, 3.0, 2.0


class Run(msgspec.Struct, frozen=True):
    """One server under load.

    Attributes:
        rate: Notifications answered 200 a second.
        p50: Milliseconds.
        p99: Milliseconds.
        cpu: Seconds of the server's processor time per 100,000 notifications.
        database: Likewise, of the database's server.
        busy: The share of time in which its loop did not wait for sockets.
        at_work: The share of time in which its loop did not, or another of its threads was at work.
        wrk: The share of a core that the load generator took.
    """

    rate: float
    p50: float
    p99: float
    cpu: float
    database: float
    busy: float
    at_work: float
    wrk: float


Runs = dict[str, list[Run]]


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each server")
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64, 256])
    parser.add_argument("--seconds", type=int, default=3, help="of load in each run")
    parser.add_argument("--hmac", choices=("off", "on"), nargs="+", default=["off"])
    parser.add_argument("--engine", choices=engines.NAMES, default="sqlite")
    engines.add_memory_option(parser)


def measure(chosen: Namespace) -> Report:
    """Load every server, and compare the router with the others."""
    wrk.require_wrk()
    rows: list[Row] = []
    findings: list[str] = []
    with engines.running(chosen.engine, on_disk=not chosen.memory) as engine:
        for hmac in chosen.hmac:
            for connections in chosen.connections:
                title = f"{connections}, hmac {hmac}"
                print(title, file=sys.stderr)
                runs = load_all(
                    engine,
                    pairs=chosen.pairs,
                    connections=connections,
                    seconds=chosen.seconds,
                    secret=SECRET if hmac == "on" else "",
                )
                rows += [describe(f"{title}: {name}", each) for name, each in runs.items()]
                found = compare(runs, engine=chosen.engine)
                findings += [f"{title}: {one}" for one in found]
    return Report(rows, findings)


def load_all(
    engine: Engine, *, pairs: int, connections: int, seconds: int, secret: str = ""
) -> Runs:
    """Run every server in turn, ``pairs`` times, each on a fresh database.

    Of those that store, the one that was best the first time goes on alone.
    """
    runs: Runs = {}
    storing = engine.storing
    for at in range(pairs):
        for name in (ROUTER, BARE, *storing, PYWA):
            run = load_once(engine, name, connections=connections, seconds=seconds, secret=secret)
            runs.setdefault(name, []).append(run)
            shares = f"loop {run.busy:.0%}, at work {run.at_work:.0%}, wrk {run.wrk:.0%}"
            print(f"{at + 1}/{pairs} {name:10} {run.rate:8.0f}/s, {shares}", file=sys.stderr)
        storing = (max(storing, key=lambda name: runs[name][0].rate),)
    return runs


def load_once(
    engine: Engine, name: str, *, connections: int, seconds: int, secret: str = ""
) -> Run:
    """Run one server on a fresh database; see `load_on`."""
    with engine.fresh() as database:
        return load_on(
            engine, database, name, connections=connections, seconds=seconds, secret=secret
        )


def load_on(
    engine: Engine,
    database: Database,
    name: str,
    *,
    connections: int,
    seconds: int,
    secret: str = "",
) -> Run:
    """Run one server on a database; a run with errors ends the benchmark."""
    with servers.serving(name, database, secret=secret) as (port, server):
        wrk.load(port, connections=connections, seconds=1, run=name_run(), secret=secret)
        before, database_before = read_cpu(server.pid), engine.read_cpu()
        with Watching(server.pid, beside=engine.find_processes()) as watching:
            load = wrk.load(
                port, connections=connections, seconds=seconds, run=name_run(), secret=secret
            )
        spent = read_cpu(server.pid) - before
        database_spent = engine.read_cpu() - database_before
    if load.errors or not load.requests:
        sys.exit(f"{name}: {load.errors} errors in {load.requests} requests: the run is void")
    cpu, others = (one / load.requests * 1e5 for one in (spent, database_spent))
    return Run(
        load.rate, load.p50, load.p99, cpu, others, watching.busy, watching.at_work, load.share
    )


def name_run() -> str:
    """Return a name for a load that no other has."""
    return f"load{time.time_ns()}"


def describe(name: str, runs: Sequence[Run]) -> Row:
    """Return the median of each figure."""
    run = Run(*(median(getattr(run, key) for run in runs) for key in Run.__struct_fields__))
    rates = [one.rate for one in runs]
    return {
        "connections: server": name,
        "rate/s": run.rate,
        "from": min(rates),
        "to": max(rates),
        "p50 ms": run.p50,
        "p99 ms": run.p99,
        "cpu s/100k": run.cpu,
        "database's": run.database,
        "loop busy": run.busy,
        "at work": run.at_work,
        "wrk": run.wrk,
    }


def compare(runs: Runs, *, engine: str) -> list[str]:
    """Return the ratios to the bare endpoint, to the best of those that store, and to pywa."""
    best = next(name for name in runs if name not in (ROUTER, BARE, PYWA) and _is_best(name, runs))
    found = [
        _compare_rates(runs, BARE, wanted=OF_BARE[engine]),
        _compare_rates(runs, best, wanted=OF_STORING),
        _compare_rates(runs, PYWA, wanted=OF_PYWA),
    ]
    pairs = zip(runs[ROUTER], runs[BARE], strict=True)
    costs = [mine.cpu / theirs.cpu for mine, theirs in pairs]
    return [*found, describe_ratio("cpu, router / bare", costs, wanted=MOST_CPU, at_most=True)]


def _is_best(name: str, runs: Runs) -> bool:
    """Whether it is the one that went on after the first round."""
    others = [each for key, each in runs.items() if key not in (ROUTER, BARE, PYWA)]
    rate = runs[name][0].rate
    return all(rate >= each[0].rate for each in others)


def _compare_rates(runs: Runs, baseline: str, *, wanted: float) -> str:
    pairs = list(zip(runs[ROUTER], runs[baseline], strict=True))
    ratios = [mine.rate / theirs.rate for mine, theirs in pairs]
    are_sound = [is_sound(ROUTER, mine) and is_sound(baseline, its) for mine, its in pairs]
    name = f"router / {baseline}"
    if not any(are_sound):
        shares = [f"{median(run.at_work for run in each):.0%}" for each in zip(*pairs, strict=True)]
        said = f"they were at work for {' and '.join(shares)} of the time"
        return f"{name}: void (it was {median(ratios):.2f}): {said}"
    said = describe_ratio(name, list(compress(ratios, are_sound)), wanted=wanted)
    void = are_sound.count(False)
    return f"{said}; {void} of {len(pairs)} pairs void" if void else said


def is_sound(name: str, run: Run) -> bool:
    """Whether the server was the limit, not the load.

    The router's loop waits for its writer by design, and what counts is whether either is at work.
    Those that store on other threads wait for many of these, whose states would not tell: of them
    it is enough that the load generator had time left.
    """
    if name == ROUTER:
        return run.at_work >= BUSY
    return run.busy >= BUSY if name in ON_LOOP else run.wrk < BUSY
