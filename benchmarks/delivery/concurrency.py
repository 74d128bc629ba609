"""Concurrency: how near 64 calls of 100 ms at once come to 640 a second."""

import asyncio
import sys
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from statistics import median

from benchmarks.delivery.handlers import Kind
from benchmarks.delivery.runs import copy_of, deliver, run_on_loop, temporary_folder
from benchmarks.notifications import draw_recipients, make_log
from benchmarks.report import Report, Row

CONCURRENCY = 64
LATENCY = 0.1  # seconds
THEORY = CONCURRENCY / LATENCY
TARGET = 0.9


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=3, help="alternating runs of each")
    parser.add_argument("--events", type=int, default=12_800)
    parser.add_argument("--subjects", type=int, default=1_000)


def measure(chosen: Namespace) -> Report:
    """Run each kind of handler, and beside it the same waiting without a router."""
    rates: dict[str, list[float]] = {}
    with temporary_folder() as folder:
        make_log(folder, islice(draw_recipients(chosen.subjects), chosen.events))
        for at in range(chosen.pairs):
            for name, rate in _run_each(folder, chosen.events):
                rates.setdefault(name, []).append(rate)
                print(f"{at + 1}/{chosen.pairs} {name:14}{rate:10.0f}/s", file=sys.stderr)
    rows: list[Row] = [
        {
            "handler": name,
            "events/s": median(found),
            "lowest": min(found),
            f"share of {THEORY:.0f}": median(found) / THEORY,
        }
        for name, found in rates.items()
    ]
    reached = min(median(rates[kind]) for kind in ("async", "plain")) / THEORY
    return Report(rows, [f"{reached:.0%} of the theoretical {THEORY:.0f}/s; wanted {TARGET:.0%}"])


def _run_each(folder: Path, events: int) -> list[tuple[str, float]]:
    kinds: tuple[Kind, ...] = ("async", "plain")
    found = []
    for kind in kinds:
        with copy_of(folder) as url:
            options = {"concurrency": CONCURRENCY}
            run = deliver(url, kind, total=events, options=options, seconds=LATENCY)
        found.append((kind, run.rate))
    few = events // 4
    return [*found, ("bare tasks", run_on_loop(_wait_in_tasks(few))), ("bare threads", _sleep(few))]


async def _wait_in_tasks(calls: int) -> float:
    slots = asyncio.Semaphore(CONCURRENCY)

    async def call() -> None:
        async with slots:
            await asyncio.sleep(LATENCY)

    began = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(calls)))
    return calls / (time.perf_counter() - began)


def _sleep(calls: int) -> float:
    began = time.perf_counter()
    with ThreadPoolExecutor(CONCURRENCY) as threads:
        for _ in range(calls):
            threads.submit(time.sleep, LATENCY)
    return calls / (time.perf_counter() - began)
