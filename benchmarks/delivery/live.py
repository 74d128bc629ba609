"""Live: how soon after the 200 a handler is called, and up to which rate lag does not grow."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from statistics import median

from benchmarks import engines, wrk
from benchmarks.delivery.lag import find_bounds, keeps_up, observe
from benchmarks.engines import Engine
from benchmarks.report import UNKNOWN, Report, Row, describe_figure, find_quantile

P50, P99 = 10.0, 50.0  # milliseconds
WINDOWS = 6  # of a run: their figures differ as runs would
FIVE, KEPT = 5, 2_000  # subscriptions, and the rate that they should keep up with


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--rate", type=int, default=1_000, help="notifications a second")
    parser.add_argument("--seconds", type=int, default=60, help="of load at that rate")
    parser.add_argument("--subscriptions", type=int, nargs="*", default=[1, 5, 20])
    parser.add_argument("--first", type=int, default=2_000, help="rate that is tried for each")
    parser.add_argument("--most", type=int, default=8_000, help="rate that is tried")
    parser.add_argument("--steps", type=int, default=6, help="rates that are tried for each")
    parser.add_argument("--step-seconds", type=int, default=10, help="of load at each of them")
    parser.add_argument("--kind", choices=("async", "plain"), default="async")
    parser.add_argument("--engine", choices=engines.NAMES, default="sqlite")
    engines.add_memory_option(parser)


def measure(chosen: Namespace) -> Report:
    """Measure the wait at one rate, then look for the highest rate for each number."""
    wrk.require_wrk()
    with engines.running(chosen.engine, on_disk=not chosen.memory) as engine:
        rows, findings = _measure_wait(engine, chosen)
        for number in chosen.subscriptions:
            kept, lost = _find_rate(engine, number, chosen)
            findings.append(describe_bounds(number, kept, lost))
    return Report(rows, findings)


def _measure_wait(engine: Engine, chosen: Namespace) -> tuple[list[Row], list[str]]:
    with engine.fresh() as database:
        found = observe(
            database,
            ["live"],
            rate=chosen.rate,
            seconds=chosen.seconds,
            is_async=chosen.kind == "async",
        )
    windows = split(found.seen.waits, WINDOWS)
    middle, slow = ([find_quantile(one, share) * 1000 for one in windows] for share in (0.5, 0.99))
    waits = [wait for _moment, wait in found.seen.waits]
    row: Row = {
        "rate/s": found.load.rate,
        "handled": len(waits),
        "wait p50 ms": find_quantile(waits, 0.5) * 1000,
        "wait p99 ms": find_quantile(waits, 0.99) * 1000,
        "max ms": max(waits) * 1000,
        "200 p50 ms": found.load.p50,
        "200 p99 ms": found.load.p99,
        "late p99 ms": found.load.late,
    }
    each = f"windows of {chosen.seconds / WINDOWS:g} s"
    findings = [
        describe_figure("wait p50 ms", middle, wanted=P50, at_most=True, each=each),
        describe_figure("wait p99 ms", slow, wanted=P99, at_most=True, each=each),
    ]
    return [row], findings


def describe_bounds(number: int, kept: int, lost: int | None) -> str:
    """Return up to which rate lag does not grow, and whether that is what is wanted.

    Args:
        number: Of subscriptions.
        kept: The highest rate that was kept.
        lost: The lowest one that was not, if any was tried.
    """
    end = f", and at {lost:,}/s it does" if lost else ", the highest that was tried"
    said = f"{number} subscriptions: lag does not grow at {kept:,}/s{end}"
    if number != FIVE:
        return said
    if kept >= KEPT:
        return f"{said}; wanted at {KEPT:,}: met"
    return f"{said}; wanted at {KEPT:,}: {'missed' if lost and lost <= KEPT else UNKNOWN}"


def split(waits: Sequence[tuple[float, float]], number: int) -> list[list[float]]:
    """Return the waits of each of so many equal parts of the time; parts without any are left out.

    Args:
        waits: Moments, and how long it took from then.
        number: Of the parts.
    """
    first = min(moment for moment, _ in waits)
    last = max(moment for moment, _ in waits)
    parts: list[list[float]] = [[] for _ in range(number)]
    for moment, wait in waits:
        at = int((moment - first) / (last - first) * number) if last > first else 0
        parts[min(at, number - 1)].append(wait)
    return [part for part in parts if part]


def _find_rate(engine: Engine, number: int, chosen: Namespace) -> tuple[int, int | None]:
    names = [f"live{at}" for at in range(number)]

    def is_kept(rate: int) -> bool:
        with engine.fresh() as database:
            found = observe(
                database,
                names,
                rate=rate,
                seconds=chosen.step_seconds,
                is_async=chosen.kind == "async",
            )
        kept = keeps_up(found.seen.samples, rate=rate, answered=found.load.rate)
        lags = [one.answered - one.started for one in found.seen.samples]
        said = f"answered {found.load.rate:,.0f}/s, lag {median(lags or [0]):,.0f} in the middle, "
        said += f"{max(lags, default=0):,} at most: {'kept' if kept else 'not kept'}"
        print(f"{number} subscriptions, {rate:,}/s: {said}", file=sys.stderr)
        return kept

    return find_bounds(is_kept, first=chosen.first, most=chosen.most, steps=chosen.steps)
