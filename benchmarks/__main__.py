"""`uv run --group benchmarks python -m benchmarks ingest`: a table on stdout, or JSON."""

import argparse

import msgspec

from benchmarks import ingest


def main() -> None:
    """Run one benchmark and print what it found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=["ingest"])
    parser.add_argument("--pairs", type=int, default=5, help="alternating runs of each server")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=int, default=5, help="of load in each run")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    runs = ingest.measure(
        pairs=chosen.pairs, connections=chosen.connections, seconds=chosen.seconds
    )
    medians = {name: ingest.take_median(found) for name, found in runs.items()}
    ratios = ingest.compare(runs)
    if chosen.json:
        print(msgspec.json.encode({"medians": medians, "ratios": ratios}).decode())
        return
    print(f"{'server':12}{'rate/s':>10}{'p50 ms':>10}{'p99 ms':>10}{'cpu s/100k':>12}")
    for name, run in medians.items():
        print(f"{name:12}{run.rate:10.0f}{run.p50:10.1f}{run.p99:10.1f}{run.cpu:12.2f}")
    for ratio in ratios:
        spread = f"pairs from {ratio.low:.2f} to {ratio.high:.2f}"
        print(f"router / {ratio.baseline}: {ratio.median:.2f} ({spread})")


if __name__ == "__main__":
    main()
