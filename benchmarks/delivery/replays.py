"""Replays: what live delivery notices of a hundred at once, and in how much memory they run."""

from argparse import ArgumentParser, Namespace

from benchmarks.delivery import history
from benchmarks.delivery.long_replay import sum_up
from benchmarks.delivery.runs import temporary_folder
from benchmarks.report import Report, find_quantile

MOST_WAIT = 1.0  # seconds


def add_arguments(parser: ArgumentParser) -> None:
    """Add what can be chosen."""
    parser.add_argument("--replays", type=int, default=100)
    parser.add_argument("--events", type=int, default=10_000, help="of each")
    parser.add_argument("--rate", type=int, default=50, help="live notifications a second")


def measure(chosen: Namespace) -> Report:
    """Run one replay, then many at once, to a plain handler that does nothing."""
    with temporary_folder() as folder:
        history.fill(folder, events=chosen.events)
        one, many = (
            history.replay(folder, events=chosen.events, replays=number, rate=chosen.rate)
            for number in (1, chosen.replays)
        )
    ended = sum(replay.done == replay.total for replay in many.replays)
    wait = find_quantile(many.waits, 0.99)
    return Report(
        [sum_up("1 replay", one), sum_up(f"{chosen.replays} replays", many)],
        [
            f"{ended} of {chosen.replays} replays handled all",
            f"p99 from arrival to handler, live: {wait:.3f} s; wanted {MOST_WAIT:.0f} s",
        ],
    )
