"""Replay: events a second into handlers, beside a bare loop over the rows and a library."""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from itertools import islice
from statistics import median

from benchmarks import engines
from benchmarks.delivery.handlers import KINDS
from benchmarks.delivery.library import History
from benchmarks.delivery.raw import Pass, read_bare
from benchmarks.delivery.replayed import replay
from benchmarks.engines import Database
from benchmarks.libraries import describe_postgresql, describe_sqlite
from benchmarks.notifications import draw_recipients, fill_log
from benchmarks.report import Report, Row, describe_ratio

BARE, LIBRARY = "bare", "eventsourcing"
SUBJECTS = 1_000
OF_BARE: Mapping[str, float | None] = {"async": 0.3, "plain": 0.5, "transactional": None}
OF_LIBRARY = 3.0
Passes = dict[str, list[Pass]]


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each")
    parser.add_argument("--events", type=int, default=50_000)
    parser.add_argument("--engine", choices=engines.NAMES, default="sqlite")
    engines.add_memory_option(parser)


def measure(chosen: Namespace) -> Report:
    """Run the bare loop, the library and each kind of handler in turn."""
    with (
        engines.running(chosen.engine, on_disk=not chosen.memory) as engine,
        engine.fresh() as database,
    ):
        fill_log(database.url, islice(draw_recipients(SUBJECTS), chosen.events))
        with _history(database, engine.name, events=chosen.events) as history:
            passes = _run_all(
                {
                    BARE: lambda: read_bare(database.url, events=chosen.events),
                    LIBRARY: lambda: history.read(events=chosen.events),
                    **{
                        kind: partial(replay, database.url, kind, events=chosen.events)
                        for kind in KINDS
                    },
                },
                pairs=chosen.pairs,
            )
    return Report([_sum_up(name, each) for name, each in passes.items()], compare(passes))


@contextmanager
def _history(database: Database, engine: str, *, events: int) -> Iterator[History]:
    environment = describe_sqlite(str(database.folder / "library.db"))
    if engine == "postgresql":
        environment = describe_postgresql(database.place, connections=2)
    with closing(History(environment, islice(draw_recipients(SUBJECTS), events))) as history:
        yield history


def _run_all(runs: Mapping[str, Callable[[], Pass]], *, pairs: int) -> Passes:
    passes: Passes = {name: [] for name in runs}
    for at in range(pairs):
        for name, run in runs.items():
            passes[name].append(run())
            print(f"{at + 1}/{pairs} {name:14}{passes[name][-1].rate:10,.0f}/s", file=sys.stderr)
    return passes


def _sum_up(name: str, passes: list[Pass]) -> Row:
    rates = [one.rate for one in passes]
    return {
        "handler": name,
        "events/s": median(rates),
        "from": min(rates),
        "to": max(rates),
        "cpu us/event": median(one.cpu for one in passes),
    }


def compare(passes: Passes) -> list[str]:
    """Return the ratios of each kind of handler to the bare loop, and to the library."""
    found = []
    for baseline in (BARE, LIBRARY):
        for kind in KINDS:
            pairs = zip(passes[kind], passes[baseline], strict=True)
            wanted = OF_BARE[kind] if baseline == BARE else None
            if baseline == LIBRARY and kind == "plain":
                wanted = OF_LIBRARY
            each = [mine.rate / theirs.rate for mine, theirs in pairs]
            found.append(describe_ratio(f"{kind} / {baseline}", each, wanted=wanted))
    return [*found, "transactional: one UPSERT an event"]
