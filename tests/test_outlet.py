"""Tests of `router.outlet`: what handlers ask goes out guarded, is written down, and ends."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx2
import pytest
from starlette.responses import RedirectResponse, Response, StreamingResponse

from router.errors import OutOfReach, RouterError
from router.exchanges import MAX_URL, MOST, Exchange, show
from router.guard import Guard
from router.outlet import Outlet
from router.reach import make_reach
from router.testing.certificates import make_certificate
from router.tls import ServerTls, trust
from router.transports import Recording, Sent
from tests.hosted import Parrot, hosted
from tests.loops import in_loop

LATER = 4e9  # in seconds since 1970
SOON = (0.3, 3.0, 30.0)  # seconds: the first is enough to connect, unless the machine is busy


class Asking:
    """Asks in one way or the other, and closes all behind itself.

    Attributes:
        exchanges: What was written down.
    """

    def __init__(self, outlet: Outlet, *, is_async: bool) -> None:
        self.outlet = outlet
        self.exchanges: list[Exchange] = []
        self._is_async = is_async
        self._runner = asyncio.Runner()

    def ask(
        self,
        method: str,
        url: str,
        *,
        deadline: float = LATER,
        content: bytes | None = None,
        follow_redirects: bool = False,
    ) -> httpx2.Response:
        """Send a request, and read the whole answer."""
        if not self._is_async:
            client = self.outlet.open(self.exchanges, name="crm", deadline=deadline)
            return client.request(method, url, content=content, follow_redirects=follow_redirects)

        async def ask() -> httpx2.Response:
            client = self.outlet.open_async(self.exchanges, name="crm", deadline=deadline)
            return await client.request(
                method, url, content=content, follow_redirects=follow_redirects
            )

        return self._runner.run(ask())

    def ask_in_vain(self, url: str) -> None:
        """Ask for what does not come before the deadline; raises what that is told by.

        To be late in connecting tells nothing: then there is another try, with more time.
        """
        for seconds in SOON:
            with suppress(httpx2.ConnectTimeout):
                self.ask("GET", url, deadline=time.time() + seconds)

    def close(self) -> None:
        """Close the outlet and the loop."""
        self._runner.run(self.outlet.close())
        self._runner.close()


@contextmanager
def asking(outlet: Outlet, *, is_async: bool) -> Iterator[Asking]:
    """Ask until the block ends."""
    found = Asking(outlet, is_async=is_async)
    try:
        yield found
    finally:
        found.close()


@pytest.fixture(params=[False, True], ids=["plain", "async"])
def inside(request: pytest.FixtureRequest) -> Iterator[Asking]:
    """Who may reach this machine."""
    guard = Guard(make_reach(["127.0.0.1"]))
    with asking(Outlet(guard), is_async=request.param) as found:
        yield found


@pytest.fixture(params=[False, True], ids=["plain", "async"])
def outside(request: pytest.FixtureRequest) -> Iterator[Asking]:
    """Who may reach public addresses alone."""
    with asking(Outlet(), is_async=request.param) as found:
        yield found


def test_what_is_asked_arrives_and_is_written_down(inside: Asking) -> None:
    """The answer comes back; method, place, status and time are kept, and no secret."""
    parrot = Parrot()
    parrot.say({"found": True}, 418)
    with hosted(parrot) as url:
        answer = inside.ask(
            "POST", f"{url.replace('//', '//me:hunter2@')}/a?token=hunter2&hunter2", content=b"text"
        )
    method, path, headers, body = parrot.asked[0]
    assert (method, path, body) == ("POST", "/a?token=hunter2&hunter2", b"text")
    assert headers["authorization"].startswith("Basic ")
    assert headers["user-agent"] == "notification-router"
    assert (answer.status_code, answer.json()) == (418, {"found": True})
    (exchange,) = inside.exchanges
    assert (exchange.method, exchange.status, exchange.error) == ("POST", 418, None)
    assert exchange.url == f"{url}/a?token=***&***"
    assert exchange.duration >= 0
    assert str(exchange).startswith(f"POST {url}/a?token=***&***: 418 after 0.")


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "localhost", "LOCALHOST", "[::1]", "[::]", "0.0.0.0"),  # noqa: S104
        *("2130706433", "0x7f000001", "0x7f.1", "127.1", "0", "127.0.0.1.", "127。0。0。1"),
        *("[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]"),
        *("[2002:7f00:1::]", "[fe80::1%25lo]", "169.254.169.254", "[fd00:ec2::254]", "10.0.0.1"),
        *("public.example@127.0.0.1", "public.example:80@127.0.0.1", "public.example\\@127.0.0.1"),
        *("%31%32%37.0.0.1", "127.0.0.1%00.example", "127.0.0.1#@public.example", "224.0.0.1"),
    ],
)
def test_no_spelling_leads_inside(outside: Asking, host: str) -> None:
    """Whatever the host is written like, nothing inside is asked, and that is on record."""
    parrot = Parrot()
    with hosted(parrot) as url:
        port = url.rpartition(":")[2]
        place = f"http://{host}:{port}/" if "#" not in host else f"http://{host}"
        with pytest.raises(OutOfReach):
            outside.ask("GET", place)
    assert parrot.asked == []
    assert [one.error for one in outside.exchanges] == ["OutOfReach"]


def test_redirections_are_not_followed_by_themselves(inside: Asking) -> None:
    """The answer that redirects is what a handler gets."""
    parrot = Parrot(RedirectResponse("http://127.0.0.1:9/"))
    with hosted(parrot) as url:
        assert inside.ask("GET", url).status_code == 307
    assert len(parrot.asked) == len(inside.exchanges) == 1


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("target", ["http://127.0.0.2:9/", "http://localhost./", "http://127.1/"])
def test_redirections_are_checked_like_first_requests(
    target: str,
    is_async: bool,  # noqa: FBT001 - a parameter
) -> None:
    """One that leads to what may not be reached ends there, though the first step was allowed."""
    guard = Guard(
        make_reach(["127.0.0.1"]), look_up=lambda host, _: [host.replace("localhost.", "::1")]
    )
    parrot = Parrot(RedirectResponse(target))
    with hosted(parrot) as url, asking(Outlet(guard), is_async=is_async) as found:
        with pytest.raises(OutOfReach):
            found.ask("GET", url, follow_redirects=True)
        assert [one.error for one in found.exchanges] == [None, "OutOfReach"]


@pytest.mark.parametrize("url", ["file:///etc/passwd", "gopher://a/", "ftp://a/", "http:///a", "a"])
def test_only_http_is_spoken(outside: Asking, url: str) -> None:
    """Other schemes lead nowhere."""
    with pytest.raises(httpx2.UnsupportedProtocol):
        outside.ask("GET", url)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_certificate_is_that_of_the_name_not_of_the_address(
    tmp_path: Path,
    is_async: bool,  # noqa: FBT001 - a parameter
) -> None:
    """A host that leads to the same address, even while it is connected, proves itself anew."""
    made = make_certificate(tmp_path, "orders.internal")
    guard = Guard(make_reach(["*.internal"]), look_up=lambda host, port: ["127.0.0.1"])
    outlet = Outlet(guard, trusted=trust(made.ca))
    parrot = Parrot()
    tls = ServerTls(certfile=made.certfile, keyfile=made.keyfile)
    with hosted(parrot, certificate=tls) as url, asking(outlet, is_async=is_async) as found:
        port = url.rpartition(":")[2]
        assert found.ask("GET", f"https://orders.internal:{port}/").status_code == 200
        with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
            found.ask("GET", f"https://bills.internal:{port}/")
    assert [headers["host"] for *_, headers, _ in parrot.asked] == [f"orders.internal:{port}"]


@pytest.mark.parametrize("is_async", [False, True])
def test_unknown_certificates_are_refused(
    tmp_path: Path,
    is_async: bool,  # noqa: FBT001 - a parameter
) -> None:
    """By default only what the system trusts is taken."""
    made = make_certificate(tmp_path, "127.0.0.1")
    tls = ServerTls(certfile=made.certfile, keyfile=made.keyfile)
    outlet = Outlet(Guard(make_reach(["127.0.0.1"])))
    with (
        hosted(Parrot(), certificate=tls) as url,
        asking(outlet, is_async=is_async) as found,
        pytest.raises(httpx2.ConnectError, match="certificate verify failed"),
    ):
        found.ask("GET", url)


def test_what_fails_is_written_down(inside: Asking) -> None:
    """A request without an answer is kept with the name of its error, which handlers know."""
    with hosted(Parrot()) as url:
        pass
    with pytest.raises(httpx2.ConnectError):
        inside.ask("GET", url)
    (exchange,) = inside.exchanges
    assert (exchange.status, exchange.error) == (None, "ConnectError")


def test_proxies_of_the_environment_are_not_used(
    inside: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy would look hosts up by itself, and nobody would check what it finds."""
    for name in ("http_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with hosted(Parrot()) as url:
        assert inside.ask("GET", url).status_code == 200


def test_no_call_begins_when_the_time_is_over(inside: Asking) -> None:
    """A handler that is late asks nobody any more."""
    parrot = Parrot()
    with hosted(parrot) as url, pytest.raises(httpx2.ConnectTimeout, match="time is over"):
        inside.ask("GET", url, deadline=time.time() - 1)
    assert parrot.asked == []


def test_no_step_takes_longer_than_the_handler_may(inside: Asking) -> None:
    """An answer that does not come is waited for until the deadline, not for the usual time."""

    async def hang() -> AsyncIterator[bytes]:
        await asyncio.Event().wait()
        yield b""

    parrot = Parrot(StreamingResponse(hang()))
    with hosted(parrot) as url, pytest.raises(httpx2.ReadTimeout):
        inside.ask_in_vain(url)


def test_a_plain_function_does_not_read_on_for_ever() -> None:
    """An answer that comes in bit by bit ends at the deadline, though each bit is in time."""

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b"."
            await asyncio.sleep(0.01)

    outlet = Outlet(Guard(make_reach(["127.0.0.1"])))
    parrot = Parrot(StreamingResponse(drip()))
    with (
        hosted(parrot) as url,
        asking(outlet, is_async=False) as plain,
        pytest.raises(httpx2.ReadTimeout),
    ):
        plain.ask_in_vain(url)


def test_a_closed_outlet_opens_nothing(inside: Asking) -> None:
    """After the stop nobody is asked any more; a client of before does no harm when it closes."""
    asyncio.run(inside.outlet.close())
    with pytest.raises(RouterError, match="the router has stopped"):
        inside.ask("GET", "http://127.0.0.1:9")


def test_a_handler_that_closes_its_client_closes_no_other() -> None:
    """Connections are shared, clients are not."""
    outlet = Outlet(Guard(make_reach(["127.0.0.1"])))
    with hosted(Parrot()) as url, asking(outlet, is_async=False) as plain:
        with outlet.open([], name="crm", deadline=LATER) as client:
            assert client.get(url).status_code == 200
        assert plain.ask("GET", url).status_code == 200


def test_only_the_last_exchanges_are_kept() -> None:
    """A handler that asks without end does not fill the memory."""
    sent: list[Sent] = []
    with asking(Outlet(recording=Recording(sent.append)), is_async=False) as plain:
        for number in range(MOST + 5):
            plain.ask("GET", f"http://a/{number}")
    assert [one.url for one in plain.exchanges][-1] == f"http://a/{MOST + 4}"
    assert len(plain.exchanges) == MOST


@pytest.mark.parametrize("is_async", [False, True])
def test_a_recording_sends_nothing(is_async: bool) -> None:  # noqa: FBT001 - a parameter
    """Each request is recorded whole and answered; not even the host is looked up."""

    def never(host: str, port: int) -> list[str]:
        raise AssertionError("it was looked up")

    sent: list[Sent] = []
    parrot = Parrot()
    outlet = Outlet(
        Guard(make_reach(["127.0.0.1"]), look_up=never),
        recording=Recording(sent.append, status=202),
    )
    with hosted(parrot) as url, asking(outlet, is_async=is_async) as found:
        answer = found.ask("PUT", f"{url}/a?b=c", content=b"text")
    assert (answer.status_code, answer.content, parrot.asked) == (202, b"", [])
    (request,) = sent
    assert (request.method, request.url, request.body) == ("PUT", f"{url}/a?b=c", b"text")
    assert request.headers["content-length"] == "4"
    assert [(one.method, one.status) for one in found.exchanges] == [("PUT", 202)]


@in_loop
async def test_answers_of_a_recording_can_be_read_piece_by_piece() -> None:
    """As a handler reads those that are not to be held whole."""
    outlet = Outlet(recording=Recording(lambda sent: None))
    with outlet.open([], name="crm", deadline=LATER).stream("GET", "http://a/") as plain:
        assert list(plain.iter_raw()) == []
    client = outlet.open_async([], name="crm", deadline=LATER)
    async with client.stream("GET", "http://a/") as answer:
        assert [part async for part in answer.aiter_raw()] == []
    await outlet.close()


def test_log_lines_hold_neither_paths_nor_secrets(
    inside: Asking, caplog: pytest.LogCaptureFixture
) -> None:
    """A path may hold a phone number: only the place that was asked is logged."""
    caplog.set_level(logging.DEBUG, logger="router.http")
    parrot = Parrot(Response(status_code=204))
    with hosted(parrot) as url:
        inside.ask("POST", f"{url.replace('//', '//me:pw@')}/5215512345678?token=hunter2")
    (line,) = [one.getMessage() for one in caplog.records if one.name == "router.http"]
    assert line.startswith(f"crm: POST {url}: 204 after ")


def test_long_urls_are_cut() -> None:
    """A record of a request has a bounded size."""
    shown = show(httpx2.URL("http://a/" + "x" * 1000))
    assert len(shown) == MAX_URL + 1
    assert shown.endswith("x…")
