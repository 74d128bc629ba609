"""Tests of `router.guard`: only addresses that were checked are called, one after another."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpcore2
import pytest

from router.errors import OutOfReach
from router.guard import AsyncCalling, Calling, Guard, look_up
from router.reach import Reach, make_reach

HERE = make_reach(["127.0.0.0/8"])
Call = Callable[[Guard, str, int, float | None], str]


@pytest.fixture
def port() -> Iterator[int]:
    """The port of somebody on 127.0.0.1 who takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def call_plainly(guard: Guard, host: str, port: int, seconds: float | None) -> str:
    """Connect as plain functions do; return the address that was called."""
    stream = Calling(guard).connect_tcp(host, port, seconds)
    with closing(stream):
        return str(stream.get_extra_info("server_addr")[0])


def call_on_a_loop(guard: Guard, host: str, port: int, seconds: float | None) -> str:
    """Connect as coroutines do; return the address that was called."""

    async def main() -> str:
        with ThreadPoolExecutor(1) as threads:
            stream = await AsyncCalling(guard, threads=threads).connect_tcp(host, port, seconds)
        address = str(stream.get_extra_info("server_addr")[0])
        await stream.aclose()
        return address

    return asyncio.run(main())


@pytest.fixture(params=[call_plainly, call_on_a_loop])
def call(request: pytest.FixtureRequest) -> Call:
    """Each way to connect."""
    found: Call = request.param
    return found


def leading_to(*addresses: str) -> Callable[[str, int], Sequence[str]]:
    """Look up every host as these."""
    return lambda host, port: addresses


def test_the_address_that_was_checked_is_called(call: Call, port: int) -> None:
    """A host is looked up once: it cannot lead elsewhere between the check and the call."""
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    guard = Guard(HERE, look_up=lambda host, port: next(answers))

    assert call(guard, "rebinding.example", port, 5) == "127.0.0.1"
    with pytest.raises(OutOfReach, match=r"rebinding\.example leads to 10\.0\.0\.1"):
        call(guard, "rebinding.example", port, 5)


def test_the_real_look_up_is_checked(call: Call, port: int) -> None:
    """The name that leads to this machine itself is out of reach by default."""
    with pytest.raises(OutOfReach, match=r"leads to .*this machine itself"):
        call(Guard(Reach()), "localhost", port, 5)
    assert "127.0.0.1" in look_up("127.0.0.1", 80)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "127.0.0.1."])
def test_odd_spellings_are_not_looked_up(call: Call, host: str) -> None:
    """Not even where the address that the system would read is allowed."""

    def never(host: str, port: int) -> Sequence[str]:
        raise AssertionError("it was looked up")

    with pytest.raises(OutOfReach, match="not everybody reads alike"):
        call(Guard(HERE, look_up=never), host, 80, 5)


def test_addresses_are_called_until_one_answers(call: Call, port: int) -> None:
    """An address where nobody listens is not the end of it."""
    guard = Guard(HERE, look_up=leading_to("127.0.0.2", "127.0.0.1"))
    assert call(guard, "host", port, 5) == "127.0.0.1"
    assert call(guard, "host", port, None) == "127.0.0.1"


def test_nobody_answers(call: Call, port: int) -> None:
    """Where no address answers, it is told as ever."""
    guard = Guard(HERE, look_up=leading_to("127.0.0.2", "127.0.0.3"))
    with pytest.raises(httpcore2.ConnectError):
        call(guard, "host", port, 5)
    with pytest.raises(httpcore2.ConnectError, match="the host host has no address"):
        call(Guard(HERE, look_up=leading_to()), "host", port, 5)


def test_a_host_that_is_not_found_is_no_connection(call: Call) -> None:
    """What the system says to a name that is none becomes an error that handlers know."""

    def fail(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror("unknown")

    with pytest.raises(httpcore2.ConnectError, match=r"the host no\.example is not found: unknown"):
        call(Guard(HERE, look_up=fail), "no.example", 80, 5)


@pytest.mark.parametrize("port", [0, 65_536, 99_999])
def test_a_port_that_cannot_be_is_no_connection(call: Call, port: int) -> None:
    """It is not left to the system, which may count on from zero again."""
    with pytest.raises(httpcore2.ConnectError, match=f"there is no port {port}"):
        call(Guard(HERE, look_up=leading_to("127.0.0.1")), "host", port, 5)


def test_a_look_up_that_hangs_ends_in_time() -> None:
    """A coroutine does not wait for a name server longer than for a connection."""
    released = threading.Event()

    def hang(host: str, port: int) -> Sequence[str]:
        released.wait()
        return ["127.0.0.1"]

    async def main() -> None:
        with ThreadPoolExecutor(1) as threads:
            calling = AsyncCalling(Guard(HERE, look_up=hang), threads=threads)
            try:
                with pytest.raises(httpcore2.ConnectTimeout, match="was not found in time"):
                    await calling.connect_tcp("host", 80, 0.01)
            finally:
                released.set()

    asyncio.run(main())
