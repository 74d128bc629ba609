"""Statements: what success costs, for 1,000 events of a backlog, and what it costs to wait."""

import asyncio
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import islice
from pathlib import Path

import msgspec

from benchmarks.delivery.counts import Statements
from benchmarks.delivery.handlers import KINDS, Counted, Kind
from benchmarks.delivery.runs import copy_of, make_router, run_on_loop, temporary_folder
from benchmarks.notifications import draw_recipients, make_log
from benchmarks.report import Report, Row
from router import Router

NUMBERS = (1, 5)  # of subscriptions
SETTLE = 3.0  # seconds until what was done is written down
COMMON = 4  # statements that are named


class Case(msgspec.Struct):
    """A router with some subscriptions of one kind, and the statements it makes.

    Attributes:
        busy: While there were events, by what they do.
        idle: While there were none.
    """

    kind: Kind
    number: int
    busy: Mapping[str, int]
    idle: Mapping[str, int]


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--subjects", type=int, default=1_000)
    parser.add_argument("--seconds", type=int, default=60, help="without events")


def measure(chosen: Namespace) -> Report:
    """Count the statements of each kind and number; what waits, waits side by side."""
    with temporary_folder() as folder:
        make_log(folder, islice(draw_recipients(chosen.subjects), chosen.events))
        cases = run_on_loop(_count(folder, events=chosen.events, seconds=chosen.seconds))
    rows = [_sum_up(case, events=chosen.events, seconds=chosen.seconds) for case in cases]
    findings = []
    for case in cases:
        name = f"{case.kind}, {case.number}"
        findings.append(f"{name}, busy: {_name_most(case.busy, share=1000 / chosen.events)}")
        findings.append(f"{name}, idle: {_name_most(case.idle, share=60 / chosen.seconds)}")
    return Report(rows, findings)


async def _count(folder: Path, *, events: int, seconds: int) -> Sequence[Case]:
    cases: list[Case] = []
    async with AsyncExitStack() as stack:
        idling: list[tuple[Kind, int, Statements, Counter[str]]] = []
        for kind in KINDS:
            for number in NUMBERS:
                url = stack.enter_context(copy_of(folder))
                router, done = _make_case(url, kind, number, events=events)
                statements = Statements(router.log.store.engine)
                await stack.enter_async_context(router)
                await asyncio.gather(*(one.is_done.wait() for one in done))
                await asyncio.sleep(SETTLE)
                idling.append((kind, number, statements, statements.counts.copy()))
                print(f"{kind} {number}: {statements.total}", file=sys.stderr)
        before = [statements.counts.copy() for _, _, statements, _ in idling]
        await asyncio.sleep(seconds)
        for (kind, number, statements, busy), begun in zip(idling, before, strict=True):
            cases.append(Case(kind, number, busy, statements.counts - begun))
    return cases


def _make_case(url: str, kind: Kind, number: int, *, events: int) -> tuple[Router, list[Counted]]:
    done = [Counted(events) for _ in range(number)]
    handles = {f"subscription{at}": (kind, handle) for at, handle in enumerate(done)}
    return make_router(url, handles), done


def _sum_up(case: Case, *, events: int, seconds: int) -> Row:
    return {
        "handlers": case.kind,
        "subscriptions": case.number,
        "for 1,000 events": sum(case.busy.values()) * 1000 / events,
        "each": sum(case.busy.values()) * 1000 / events / case.number,
        "a minute idle": sum(case.idle.values()) * 60 / seconds,
    }


def _name_most(counts: Mapping[str, int], *, share: float) -> str:
    common = Counter(counts).most_common(COMMON)
    return "; ".join(f"{count * share:.1f} {what}" for what, count in common)
