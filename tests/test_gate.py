"""Tests of `router.gate`: one writer at a time, appends first, but never two past a waiting one."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from router.errors import StoreError
from router.gate import Gate, OpenGate


class Visitors:
    """Threads that pass a gate and write down in which order they did."""

    def __init__(self, gate: Gate) -> None:
        self.order: list[str] = []
        self._gate = gate
        self._threads: list[threading.Thread] = []

    def send(self, name: str) -> None:
        """Send one to the gate; an appender where its name says so. Returns once it waits."""
        is_appending = name.startswith("append")
        before = self._gate.waiting

        def visit() -> None:
            with self._gate.turn(appending=is_appending):
                self.order.append(name)

        thread = threading.Thread(target=visit)
        thread.start()
        self._threads.append(thread)
        while self._gate.waiting == before and thread.is_alive():
            pass

    def join(self) -> None:
        """Wait until all have passed."""
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


@contextmanager
def visiting(gate: Gate, *, appending: bool = False) -> Iterator[Visitors]:
    """Hold the gate while visitors are sent; they have all passed at the end of the block."""
    visitors = Visitors(gate)
    with gate.turn(appending=appending):
        yield visitors
        assert visitors.order == []
    visitors.join()


def test_appends_pass_before_others_that_came_first() -> None:
    """Whoever waits longer, the append is next."""
    with visiting(Gate()) as visitors:
        visitors.send("other")
        visitors.send("append")
    assert visitors.order == ["append", "other"]


def test_another_writer_passes_between_two_appends() -> None:
    """While others wait, each append is followed by one of them."""
    with visiting(Gate()) as visitors:
        for name in ("append 1", "append 2", "append 3", "other 1", "other 2"):
            visitors.send(name)
    kinds = [name.split()[0] for name in visitors.order]
    assert kinds == ["append", "other", "append", "other", "append"]


def test_an_append_that_held_the_gate_lets_another_writer_pass() -> None:
    """The rule counts the append that went last before anybody waited."""
    with visiting(Gate(), appending=True) as visitors:
        visitors.send("append")
        visitors.send("other")
    assert visitors.order == ["other", "append"]


def test_tells_a_long_batch_that_an_append_waits() -> None:
    """`is_append_waiting` speaks of appends alone."""
    gate = Gate()
    with visiting(gate) as visitors:
        visitors.send("other")
        told = [gate.is_append_waiting]
        visitors.send("append")
        told.append(gate.is_append_waiting)
    assert [*told, gate.is_append_waiting] == [False, True, False]


def test_a_failure_inside_frees_the_gate() -> None:
    """An exception leaves the gate open for the next."""
    gate = Gate()
    visitors = Visitors(gate)
    with pytest.raises(ZeroDivisionError), gate.turn(appending=True):
        _ = 1 // len(visitors.order)
    visitors.send("other")
    visitors.join()
    assert visitors.order == ["other"]


def test_one_at_a_time() -> None:
    """Two writers are never inside together, and none is lost, however many come."""
    gate = Gate()
    inside: list[int] = []
    crowds: list[int] = []

    def visit(number: int) -> None:
        for _ in range(100):
            with gate.turn(appending=number % 2 == 0):
                inside.append(number)
                crowds.append(len(inside))
                inside.remove(number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(8)))
    assert crowds == [1] * 800


def test_a_thread_that_writes_cannot_begin_to_write() -> None:
    """Whoever asks for the gate that it holds is told so, rather than left to wait for itself."""
    gate = Gate()
    with gate.turn(), pytest.raises(StoreError, match="`connection`"), gate.turn(appending=True):
        pass
    with gate.turn():
        assert gate.waiting == 0


@pytest.mark.parametrize("appending", [False, True])
def test_an_open_gate_lets_all_through_at_once(*, appending: bool) -> None:
    """Several threads are inside together, and nobody waits or is waited for."""
    gate = OpenGate()
    together = threading.Barrier(4)

    def visit() -> tuple[int, bool]:
        with gate.turn(appending=appending):
            together.wait(10)
            return gate.waiting, gate.is_append_waiting

    with ThreadPoolExecutor(4) as pool:
        found = [one.result() for one in [pool.submit(visit) for _ in range(4)]]
    assert found == [(0, False)] * 4


def test_an_open_gate_refuses_whoever_is_inside() -> None:
    """What a thread wrote within its own transaction would be committed by itself: it is told so.

    Afterwards it may come again, also where it has failed.
    """
    gate = OpenGate()
    with gate.turn(), pytest.raises(StoreError, match="`connection`"), gate.turn(appending=True):
        pass
    with pytest.raises(KeyError), gate.turn():
        raise KeyError
    with gate.turn():
        assert gate.waiting == 0
