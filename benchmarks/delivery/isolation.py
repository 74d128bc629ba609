"""Isolation: what other subjects notice of one that always fails."""

import sqlite3
import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.delivery.handlers import KINDS, Kind
from benchmarks.delivery.runs import Run, copy_of, deliver, temporary_folder
from benchmarks.notifications import draw_recipients, make_log
from benchmarks.report import Report, Row, describe_ratio
from router import Event

RETRY = {"first": "200ms", "factor": 1, "cap": "200ms", "jitter": False, "attempts": 1_000_000}
DIFFERENCES = 6  # that are named
TABLES = ("parked", "blocked", "attempt")


class Measured(msgspec.Struct, frozen=True):
    """A run with what it left on record.

    Attributes:
        rows: In the tables that tell of failures, once all others were handled.
        own: The statements that the one subject itself cost, failing or not.
    """

    run: Run
    rows: Mapping[str, int]
    own: int


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each")
    parser.add_argument("--events", type=int, default=40_000)
    parser.add_argument("--subjects", type=int, default=200)
    parser.add_argument("--kind", choices=KINDS, help="of handler; all of them, if left out")


def measure(chosen: Namespace) -> Report:
    """Run each kind of handler with and without a subject that fails, in turn."""
    rows: list[Row] = []
    findings = []
    with temporary_folder() as folder:
        make_log(folder, islice(draw_recipients(chosen.subjects), chosen.events))
        failing = _find_first_subject(folder)
        kinds: tuple[Kind, ...] = (chosen.kind,) if chosen.kind else KINDS
        for kind in kinds:
            without, beside = [], []
            for at in range(chosen.pairs):
                without.append(_run(folder, kind, failing, fails=False))
                beside.append(_run(folder, kind, failing, fails=True))
                rates = f"{without[-1].run.rate:10,.0f}/s {beside[-1].run.rate:10,.0f}/s"
                print(f"{at + 1}/{chosen.pairs} {kind:14}{rates}", file=sys.stderr)
            rows += [_sum_up(f"{kind} without", without), _sum_up(f"{kind} beside", beside)]
            findings += [_compare(kind, without, beside), _explain(kind, without, beside)]
    return Report(rows, findings)


def _run(folder: Path, kind: Kind, failing: str, *, fails: bool) -> Measured:
    """Deliver until all events of the subjects but ``failing`` are handled."""
    with copy_of(folder) as url:
        file = url.removeprefix("sqlite:///")
        total = _count(file, "event", f"subject != '{failing}'")

        def is_failing(event: Event) -> bool:
            return fails and event.subject == failing

        def is_counted(event: Event) -> bool:
            return event.subject != failing

        options = {"retry": RETRY}
        run = deliver(url, kind, total=total, options=options, fails=is_failing, counts=is_counted)
        # Each call of a transactional handler is made in a savepoint, which begins and ends.
        savepoints = 2 * run.uncounted if kind == "transactional" else 0
        rows = {table: _count(file, table) for table in TABLES}
        return Measured(run, rows, run.own + savepoints)


def _sum_up(name: str, runs: Sequence[Measured]) -> Row:
    rest = [one.run.total - one.own for one in runs]
    return {
        "run": name,
        "events/s": median(one.run.rate for one in runs),
        "turns of others": median(one.run.calls for one in runs),
        "statements": median(one.run.total for one in runs),
        "of others": median(rest),
        "from": min(rest),
        "to": max(rest),
        **{table: max(one.rows[table] for one in runs) for table in TABLES},
    }


def _compare(kind: str, without: Sequence[Measured], beside: Sequence[Measured]) -> str:
    """Compare the pairs, and tell it from how far the runs without differ by themselves."""
    pairs = zip(beside, without, strict=True)
    ratio = describe_ratio(
        f"{kind}: rate beside / without", [mine.run.rate / other.run.rate for mine, other in pairs]
    )
    rates = [one.run.rate for one in without]
    middle = median(rates)
    low, high = min(rates) / middle, max(rates) / middle
    return f"{ratio}; without it alone from {low:.2f} to {high:.2f} of its median"


def _explain(kind: str, without: Sequence[Measured], beside: Sequence[Measured]) -> str:
    """Say which statements differ most between the pairs, the subject's own included."""
    more: Counter[str] = Counter()
    for one in beside:
        more.update(one.run.counts)
    for one in without:
        more.subtract(one.run.counts)
    parts = sorted(more.items(), key=lambda part: -abs(part[1]))[:DIFFERENCES]
    said = ", ".join(f"{count / len(without):+.0f} {what}" for what, count in parts)
    return f"{kind}: statements beside, more or less than without: {said}"


def _find_first_subject(folder: Path) -> str:
    with closing(sqlite3.connect(folder / "router.db")) as database:
        return str(database.execute("SELECT subject FROM event WHERE position = 1").fetchone()[0])


def _count(file: str, table: str, condition: str = "true") -> int:
    with closing(sqlite3.connect(file)) as database:
        query = f"SELECT count(*) FROM {table} WHERE {condition}"  # noqa: S608
        return int(database.execute(query).fetchone()[0])
