"""Serving: a router behind a port of its own, for as long as a block lasts."""

import asyncio
import socket
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from router import Router, RouterError
from router.errors import SchemaError
from router.serving import serving

# One engine is enough: what is tested is the server.
pytestmark = pytest.mark.engines("sqlite")


def get(address: str, path: str) -> int:
    """The status of the answer to a GET."""
    return httpx2.get(f"{address}{path}", trust_env=False).status_code


def test_a_free_port_is_found_and_freed(database: str) -> None:
    """Port 0 takes a free one, answers at once, and is closed after the block."""

    async def work() -> str:
        async with serving(Router(database), host="127.0.0.1", port=0) as served:
            assert await asyncio.to_thread(get, served.address, "/readyz") == 200
            return served.address

    address = asyncio.run(work())

    with pytest.raises(httpx2.ConnectError):
        get(address, "/livez")


def test_it_may_be_stopped_within_the_block(database: str) -> None:
    """Who stops it can wait until the port is closed, and the block ends as ever."""

    async def work() -> None:
        async with serving(Router(database), host="127.0.0.1", port=0) as served:
            served.stop()
            await served.wait()
            with pytest.raises(httpx2.ConnectError):
                await asyncio.to_thread(get, served.address, "/livez")

    asyncio.run(work())


def test_ipv6_has_brackets(database: str) -> None:
    """An address of IPv6 can be put before a path as it is."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")

    async def work() -> None:
        async with serving(Router(database), host="::1", port=0) as served:
            assert served.address.startswith("http://[::1]:")
            assert await asyncio.to_thread(get, served.address, "/livez") == 200

    try:
        asyncio.run(work())
    except RouterError as error:
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.parametrize("port", [None, 70_000])
def test_a_port_that_is_not_to_be_had(database: str, port: int | None) -> None:
    """A port that is taken, or is none, is an error that names it; the router ends well."""
    router = Router(database)

    async def work(port: int) -> None:
        async with serving(router, host="127.0.0.1", port=port):
            pytest.fail("it serves")

    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        wanted = taken.getsockname()[1] if port is None else port
        with pytest.raises(RouterError, match=f"127.0.0.1 port {wanted}"):
            asyncio.run(work(wanted))


def test_the_router_is_checked_before_the_port(tmp_path: Path, database: str) -> None:
    """A router that cannot start is the error that is told, though the port is taken too."""
    Path(database.removeprefix("sqlite:///")).write_bytes(b"")

    async def work(port: int) -> None:
        async with serving(Router(database), host="127.0.0.1", port=port):
            pytest.fail("it serves")

    with closing(socket.create_server(("127.0.0.1", 0))) as taken, pytest.raises(SchemaError):
        asyncio.run(work(taken.getsockname()[1]))
