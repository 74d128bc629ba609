"""`uv run --group benchmarks python -m benchmarks NAME`: a table on stdout, or JSON."""

import argparse
import logging
from collections.abc import Mapping
from types import ModuleType

import msgspec

from benchmarks import append, growth, ingest, memory, paced, simulate
from benchmarks.delivery import (
    backlog,
    concurrency,
    isolation,
    live,
    long_replay,
    replay,
    replays,
    statements,
    throughput,
    transactional,
)
from benchmarks.report import Report

BENCHMARKS: Mapping[str, ModuleType] = {
    "ingest": ingest,
    "paced": paced,
    "append": append,
    "throughput": throughput,
    "concurrency": concurrency,
    "isolation": isolation,
    "backlog": backlog,
    "transactional": transactional,
    "statements": statements,
    "live": live,
    "replay": replay,
    "long-replay": long_replay,
    "replays": replays,
    "growth": growth,
    "memory": memory,
    "simulate": simulate,
}


def main() -> None:
    """Run one benchmark and print what it found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    names = parser.add_subparsers(dest="name", required=True, metavar="NAME")
    for name, benchmark in BENCHMARKS.items():
        options = names.add_parser(name, help=benchmark.__doc__, description=benchmark.__doc__)
        benchmark.add_arguments(options)
        options.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    # Handlers that are to fail do; what the router says of it is made, and left unsaid.
    logging.getLogger("router").addHandler(logging.NullHandler())
    report: Report = BENCHMARKS[chosen.name].measure(chosen)
    print(msgspec.json.encode(report).decode() if chosen.json else report.render())


if __name__ == "__main__":
    main()
