"""Long replay: how fast a long history is handed over, in how much memory, beside live load."""

from argparse import ArgumentParser, Namespace
from contextlib import ExitStack
from pathlib import Path

from benchmarks.delivery import history
from benchmarks.delivery.history import Found
from benchmarks.delivery.runs import temporary_folder
from benchmarks.report import Report, Row, find_quantile

MOST_RSS, MOST_WAIT = 20.0, 0.05  # MiB more than a short replay needs; seconds


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--events", type=int, default=1_000_000, help="of the long one")
    parser.add_argument("--few", type=int, default=10_000, help="of the short one")
    parser.add_argument("--rate", type=int, default=50, help="live notifications a second")
    parser.add_argument("--log", type=Path, help="a folder where the log is kept, or made")


def measure(chosen: Namespace) -> Report:
    """Replay a short and a long history to a plain handler that does nothing."""
    with ExitStack() as stack:
        folder = chosen.log or stack.enter_context(temporary_folder())
        history.fill(folder, events=chosen.events)
        few, many = (
            history.replay(folder, events=events, replays=1, rate=chosen.rate)
            for events in (chosen.few, chosen.events)
        )
    more = max(many.rss) - max(few.rss)
    wait = find_quantile(many.waits, 0.99)
    return Report(
        [sum_up(f"{chosen.few:,}", few), sum_up(f"{chosen.events:,}", many)],
        [
            f"{many.rate:,.0f} events a second",
            f"{more:.1f} MiB more at {chosen.events:,} events; wanted {MOST_RSS:.0f}",
            f"p99 from arrival to handler, live: {wait * 1000:.1f} ms; wanted "
            f"{MOST_WAIT * 1000:.0f} from the 200",
        ],
    )


def sum_up(name: str, found: Found) -> Row:
    """Return what replays came to as the row of a table."""
    settled = sum(one.done for one in found.replays)
    return {
        "events": name,
        "done": settled,
        "failed": sum(one.failed for one in found.replays),
        "seconds": found.seconds,
        "events/s": found.rate,
        "cpu us": found.cpu / settled * 1e6,
        "rss MiB": max(found.rss),
        "live": len(found.waits),
        "wait p50 ms": find_quantile(found.waits, 0.5) * 1000,
        "p99": find_quantile(found.waits, 0.99) * 1000,
        "max": max(found.waits) * 1000,
        "200 p50 ms": find_quantile(found.load.latencies, 0.5),
        "200 p99": find_quantile(found.load.latencies, 0.99),
        "refused": found.load.refused,
    }
