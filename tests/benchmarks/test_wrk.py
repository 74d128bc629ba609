"""What wrk is told, and what is read from what it tells."""

import pytest

from benchmarks.wrk import read_output, write_command


def test_what_is_not_chosen_is_not_told() -> None:
    """A rate of 0 is none at all: the script would wait otherwise."""
    command = write_command(8000, connections=16, seconds=3, run="one")
    assert command[command.index("--") + 1 :] == ["run=one"]
    command = write_command(8000, connections=16, seconds=3, run="one", rate=50, marked=True)
    assert command[command.index("--") + 1 :] == ["run=one", "rate=50", "marked=yes"]


def test_the_result_is_the_line_that_the_script_writes() -> None:
    """Among what wrk says itself; latencies are in milliseconds then."""
    found = read_output("Running 3s test\nRESULT 3000 1500000 1200 4500 2 7\n")
    assert (found.p50, found.p99, found.errors, found.late) == (1.2, 4.5, 2, 7)
    assert found.rate == pytest.approx(2_000)
