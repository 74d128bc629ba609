"""Growth: ingest, live, replay and the lists of events beside 0, 1 and 10 million stored ones."""

import shutil
import sqlite3
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median

from benchmarks import wrk
from benchmarks.delivery.lag import observe
from benchmarks.delivery.replayed import forget, replay
from benchmarks.delivery.runs import temporary_folder
from benchmarks.engines import Database, SQLite
from benchmarks.filling import fill, find_log, measure_disk, read_head
from benchmarks.ingest import load_on
from benchmarks.listing import find_lists, time_list
from benchmarks.report import Report, Row, describe_figure, describe_ratio, find_quantile
from benchmarks.servers import ROUTER

SIZES = (0, 1_000_000, 10_000_000)
REPLAYED = 30_000  # events that are replayed, the last ones; the smallest log holds no others
COPIED = 100_000  # events, up to which each run has a copy of its own
CONNECTIONS = 64
LIVE, LIVE_RATE = "live", 1_000
OF_EMPTY, REPLAY_OF_EMPTY, MOST_LIST = 0.8, 0.85, 100.0  # ratios; milliseconds
MINUTES = 7.5
Figures = dict[str, list[float]]


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument(
        "step",
        nargs="?",
        choices=("prepare", "measure"),
        default="measure",
        help="prepare fills the logs, for some minutes a call, and goes on where it stopped",
    )
    parser.add_argument("--folder", type=Path, required=True, help="where the logs are kept")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="of the logs")
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each size")
    parser.add_argument("--seconds", type=int, default=3, help="of load in each run")
    parser.add_argument("--replayed", type=int, default=REPLAYED, help="events in each run")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="of prepare, at most")


def measure(chosen: Namespace) -> Report:
    """Fill the logs, or measure beside each of them in turn."""
    sizes = [max(size, chosen.replayed) for size in sorted(chosen.sizes)]
    logs = {size: find_log(chosen.folder, size) for size in sizes}
    if chosen.step == "prepare":
        return _prepare(logs, minutes=chosen.minutes)
    if missing := [f"{size:,}" for size, log in logs.items() if read_head(log) < size]:
        sys.exit(f"not filled yet: {', '.join(missing)}; call prepare until all are")
    wrk.require_wrk()
    disk = {size: measure_disk(log) for size, log in logs.items()}
    figures: dict[int, Figures] = {size: {} for size in sizes}
    for at in range(chosen.pairs):
        for size, log in logs.items():
            found = _run(log, size, seconds=chosen.seconds, replayed=chosen.replayed)
            for name, figure in found.items():
                figures[size].setdefault(name, []).append(figure)
            said = ", ".join(f"{name} {figure:,.1f}" for name, figure in found.items())
            print(f"{at + 1}/{chosen.pairs} {size:,}: {said}", file=sys.stderr)
    rows: list[Row] = [
        {"events": f"{size:,}", "bytes/event": disk[size], **_take_medians(each)}
        for size, each in figures.items()
    ]
    return Report(rows, compare(figures))


def _prepare(logs: Mapping[int, Database], *, minutes: float) -> Report:
    end = time.monotonic() + minutes * 60
    rows: list[Row] = []
    for size, log in logs.items():
        left = max(0.0, end - time.monotonic())
        there = fill(log, size, seconds=left) if left else read_head(log)
        rows.append({"log": f"{size:,}", "events": there, "to come": max(0, size - there)})
    more = sum(int(row["to come"]) for row in rows)
    return Report(rows, [f"{more:,} to come: call it again" if more else "ready to be measured"])


def _run(log: Database, size: int, *, seconds: int, replayed: int) -> dict[str, float]:
    """Return what each figure is once, beside a log of ``size`` events."""
    with _opened(log, size) as database:
        _warm(database)
        ingest = load_on(SQLite(), database, ROUTER, connections=CONNECTIONS, seconds=seconds)
        live = observe(database, [LIVE], rate=LIVE_RATE, seconds=seconds)
        forget(database.url, LIVE)
        waits = [wait * 1000 for _moment, wait in live.seen.waits]
        again = replay(database.url, "plain", events=replayed, after=size - replayed)
        lists = {
            f"list {name} p95 ms": find_quantile(time_list(database, options), 0.95)
            for name, options in find_lists(database).items()
        }
    return {
        "ingest/s": ingest.rate,
        "live p50 ms": find_quantile(waits, 0.5),
        "live p99 ms": find_quantile(waits, 0.99),
        "replay/s": again.rate,
        **lists,
    }


def _warm(database: Database) -> None:
    """Have the machine hold what it holds beside a receiver that has run for long: its indexes.

    They are where an event goes to any place: by its key and by its subject.
    """
    with closing(sqlite3.connect(database.url.removeprefix("sqlite:///"))) as file:
        for table in ("dedupe_a", "dedupe_b", "event INDEXED BY ix_event_subject_position"):
            file.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608


@contextmanager
def _opened(log: Database, size: int) -> Iterator[Database]:
    """Yield the log; a small one as a copy, since to it a run adds a lot."""
    if size > COPIED:
        yield log
        return
    with temporary_folder() as folder:
        for path in log.folder.glob("router.db*"):
            shutil.copy(path, folder)
        yield Database(folder, f"sqlite:///{folder / 'router.db'}", "")


def _take_medians(figures: Figures) -> dict[str, float]:
    return {name: median(values) for name, values in figures.items()}


def compare(figures: Mapping[int, Figures]) -> list[str]:
    """Return how the largest log compares with the smallest, and how soon lists come."""
    sizes = sorted(figures)
    few, many = figures[sizes[0]], figures[sizes[-1]]
    found = []
    for name, wanted in (("ingest/s", OF_EMPTY), ("replay/s", REPLAY_OF_EMPTY)):
        each = [mine / base for mine, base in zip(many[name], few[name], strict=True)]
        said = f"{name} at {sizes[-1]:,} / at {sizes[0]:,}"
        found.append(describe_ratio(said, each, wanted=wanted))
    return found + [
        describe_figure(f"{name} at {sizes[-1]:,}", values, wanted=MOST_LIST, at_most=True)
        for name, values in many.items()
        if name.startswith("list ")
    ]
