"""A comparison that the load generator has limited is void, and says so."""

from benchmarks.ingest import Run, compare, is_sound


def make_run(rate: float, *, busy: float = 1.0, at_work: float = 1.0, wrk: float = 0.3) -> Run:
    """Return a run with what is not said at some value."""
    return Run(rate, p50=1.0, p99=2.0, cpu=10.0, database=0.0, busy=busy, at_work=at_work, wrk=wrk)


def test_a_loop_that_waited_makes_a_run_void() -> None:
    """Of servers whose work is on their loop; those on threads are judged by the load's side.

    The router is at work on its loop or in its writer.
    """
    assert is_sound("bare", make_run(1, busy=0.93))
    assert not is_sound("bare", make_run(1, busy=0.87))
    assert is_sound("router", make_run(1, busy=0.5, at_work=0.93))
    assert not is_sound("router", make_run(1, busy=0.5, at_work=0.87))
    assert is_sound("threads", make_run(1, busy=0.3))
    assert not is_sound("threads", make_run(1, busy=0.3, wrk=0.95))


def test_void_pairs_are_left_out_and_counted() -> None:
    """The others are compared."""
    runs = {
        "router": [make_run(50), make_run(90, at_work=0.5), make_run(60)],
        "bare": [make_run(100), make_run(100), make_run(100)],
        "loop": [make_run(10)] * 3,
        "threads": [make_run(5)],
        "pywa": [make_run(10)] * 3,
    }
    to_bare, to_best, *_ = compare(runs, engine="sqlite")
    assert to_bare.startswith("router / bare: 0.55 (pairs from 0.50 to 0.60)")
    assert to_bare.endswith("met; 1 of 3 pairs void")
    assert to_best.startswith("router / loop")


def test_without_a_sound_pair_there_is_no_claim() -> None:
    """It says how busy they were instead."""
    idle = [make_run(50, busy=0.5, at_work=0.5)] * 2
    runs = {"router": idle, "bare": idle, "loop": idle, "pywa": idle}
    assert compare(runs, engine="sqlite")[0] == (
        "router / bare: void (it was 1.00): they were at work for 50% and 50% of the time"
    )
