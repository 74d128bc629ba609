"""Throughput: events a second into handlers that do nothing, beside a bare loop over the rows."""

import sys
from argparse import ArgumentParser, Namespace
from itertools import islice
from pathlib import Path
from statistics import median

from benchmarks.delivery.handlers import KINDS
from benchmarks.delivery.raw import read_bare
from benchmarks.delivery.runs import copy_of, deliver, temporary_folder
from benchmarks.notifications import draw_recipients, make_log
from benchmarks.report import Report, Row, describe_ratio

BARE = "bare"


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=3, help="alternating runs of each")
    parser.add_argument("--events", type=int, default=30_000)
    parser.add_argument("--subjects", type=int, default=1_000)


def measure(chosen: Namespace) -> Report:
    """Run the bare loop and each kind of handler in turn."""
    rates: dict[str, list[float]] = {name: [] for name in (BARE, *KINDS)}
    costs: dict[str, list[float]] = {name: [] for name in (BARE, *KINDS)}
    with temporary_folder() as folder:
        make_log(folder, islice(draw_recipients(chosen.subjects), chosen.events))
        for at in range(chosen.pairs):
            for name, rate, cpu in _run_each(folder, chosen.events):
                rates[name].append(rate)
                costs[name].append(cpu)
                print(f"{at + 1}/{chosen.pairs} {name:14}{rate:10,.0f}/s", file=sys.stderr)
    rows: list[Row] = [
        {"handler": name, "events/s": median(rates[name]), "cpu us/event": median(costs[name])}
        for name in rates
    ]
    ratios = {
        name: [mine / theirs for mine, theirs in zip(rates[name], rates[BARE], strict=True)]
        for name in KINDS
    }
    return Report(rows, [describe_ratio(f"{name} / {BARE}", each) for name, each in ratios.items()])


def _run_each(folder: Path, events: int) -> list[tuple[str, float, float]]:
    bare = read_bare(f"sqlite:///{folder / 'router.db'}", events=events)
    found = [(BARE, bare.rate, bare.cpu)]
    for kind in KINDS:
        with copy_of(folder) as url:
            run = deliver(url, kind, total=events)
        found.append((kind, run.rate, run.cpu))
    return found
