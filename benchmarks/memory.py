"""Memory: the most that `router serve` has in use, idle, at full ingest, with a backlog."""

import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

import msgspec

from benchmarks import wrk
from benchmarks.delivery.replayed import forget
from benchmarks.delivery.runs import temporary_folder
from benchmarks.delivery.served import Record, serving
from benchmarks.engines import Database, SQLite
from benchmarks.filling import fill, find_log, read_head
from benchmarks.ingest import SECRET, name_run
from benchmarks.processes import read_peak_rss
from benchmarks.report import Report, Row, describe_figure, describe_ratio

MOST = 150.0  # MiB
FLAT = 1.1  # beside the largest log, of what it is beside an empty one, at most
LARGE = 4 * 1024 * 1024 - 2_048  # bytes of text in a body of almost 4 MiB
NAME = "noop"
PLUGIN = """
from router import hookimpl

@hookimpl
def subscription_options():
    return {{"start": "{start}"}}

@hookimpl
def on_event(event):
    pass
"""


class Peak(msgspec.Struct, frozen=True):
    """The most memory of one process.

    Attributes:
        rss: MiB.
        done: Notifications that were answered 200, or events of a backlog that were handled.
        refused: How many were answered otherwise.
    """

    rss: float
    done: int = 0
    refused: int = 0


Peaks = dict[str, list[Peak]]


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each case")
    parser.add_argument("--seconds", type=int, default=5, help="of each run")
    parser.add_argument("--connections", type=int, default=256, help="at full ingest")
    parser.add_argument("--large-connections", type=int, default=16, help="with large bodies")
    parser.add_argument("--backlog", type=int, default=1_000_000, help="events")
    parser.add_argument("--backlog-seconds", type=int, default=120, help="for it, at most")
    parser.add_argument("--backlog-runs", type=int, default=1)
    parser.add_argument("--sizes", type=int, nargs="*", default=[], help="of logs for ingest")
    parser.add_argument("--folder", type=Path, help="where `growth prepare` has filled logs")


def measure(chosen: Namespace) -> Report:
    """Run each case in turn, each in a process of its own."""
    wrk.require_wrk()
    peaks: Peaks = {}
    with ExitStack() as stack:
        folder = chosen.folder or stack.enter_context(temporary_folder())
        logs = {size: _prepare(folder, size) for size in {*chosen.sizes, chosen.backlog}}
        cases = _list_cases(chosen, logs)
        for at in range(max(chosen.pairs, chosen.backlog_runs)):
            for name, runs, case in cases:
                if at >= runs:
                    continue
                peak = case()
                peaks.setdefault(name, []).append(peak)
                said = f"{peak.rss:8.1f} MiB, {peak.done:,} done, {peak.refused:,} refused"
                print(f"{at + 1}/{runs} {name:28}{said}", file=sys.stderr)
    rows = [_sum_up(name, each) for name, each in peaks.items()]
    return Report(rows, compare(peaks))


def _list_cases(
    chosen: Namespace, logs: dict[int, Database]
) -> list[tuple[str, int, Callable[[], Peak]]]:
    """Return each case with its name and how often it is run."""

    def ingest(database: Database) -> Peak:
        return _take_in(database, seconds=chosen.seconds, connections=chosen.connections)

    def take_large(database: Database) -> Peak:
        many = chosen.large_connections
        return _take_in(database, seconds=chosen.seconds, connections=many, padding=LARGE)

    def idle(database: Database) -> Peak:
        return _idle(database, seconds=chosen.seconds)

    def deliver() -> Peak:
        database = logs[chosen.backlog]
        return _deliver(database, chosen.backlog, seconds=chosen.backlog_seconds)

    cases: list[tuple[str, int, Callable[[], Peak]]] = [
        ("idle", chosen.pairs, partial(_on_fresh, idle)),
        ("ingest", chosen.pairs, partial(_on_fresh, ingest)),
        ("bodies of 4 MiB", chosen.pairs, partial(_on_fresh, take_large)),
        (f"backlog of {chosen.backlog:,}", chosen.backlog_runs, deliver),
    ]
    for size in sorted(chosen.sizes):
        log = logs[size]
        cases.append((f"idle beside {size:,}", chosen.pairs, partial(idle, log)))
        cases.append((f"ingest beside {size:,}", chosen.pairs, partial(ingest, log)))
    return cases


def _prepare(folder: Path, size: int) -> Database:
    log = find_log(folder, size)
    if (there := read_head(log)) < size:
        print(f"filling a log: {there:,} of {size:,}", file=sys.stderr)
        if fill(log, size, seconds=6 * 60) < size:
            sys.exit("it is not full yet; call it again with the same --folder")
    return log


def _on_fresh(run: Callable[[Database], Peak]) -> Peak:
    with SQLite().fresh() as database:
        return run(database)


@contextmanager
def _running(database: Database, *, start: str) -> Iterator[tuple[int, int]]:
    """Serve with a plugin that does nothing, and yield port and pid."""
    with serving(database.folder, {NAME: PLUGIN.format(start=start)}) as (port, server):
        yield port, server.pid
    forget(database.url, NAME)


def _idle(database: Database, *, seconds: int) -> Peak:
    with _running(database, start="now") as (_port, pid):
        time.sleep(seconds)
        return Peak(read_peak_rss(pid))


def _take_in(database: Database, *, seconds: int, connections: int, padding: int = 0) -> Peak:
    with _running(database, start="now") as (port, pid):
        load = wrk.load(
            port,
            connections=connections,
            seconds=seconds,
            run=name_run(),
            secret=SECRET,
            padding=padding,
        )
        return Peak(read_peak_rss(pid), load.requests - load.errors, load.errors)


def _deliver(database: Database, size: int, *, seconds: int) -> Peak:
    record, end = Record(database.folder), time.monotonic() + seconds
    with _running(database, start="beginning") as (_port, pid):
        while (lag := record.lag(NAME)) and time.monotonic() < end:
            time.sleep(0.5)
        return Peak(read_peak_rss(pid), size - lag)


def _sum_up(name: str, peaks: Sequence[Peak]) -> Row:
    found = [peak.rss for peak in peaks]
    return {
        "case": name,
        "peak MiB": median(found),
        "from": min(found),
        "to": max(found),
        "done": median(peak.done for peak in peaks),
        "refused": sum(peak.refused for peak in peaks),
    }


def compare(peaks: Peaks) -> list[str]:
    """Return whether each case keeps within its bound, and beside large logs, too."""
    found = [
        describe_figure(f"{name}, MiB", [one.rss for one in each], wanted=MOST, at_most=True)
        for name, each in peaks.items()
    ]
    for name, each in peaks.items():
        case, beside, _size = name.partition(" beside ")
        if beside:
            pairs = zip(each, peaks[case], strict=True)
            ratios = [large.rss / small.rss for large, small in pairs]
            found.append(describe_ratio(f"{name} / beside none", ratios, wanted=FLAT, at_most=True))
    return found
