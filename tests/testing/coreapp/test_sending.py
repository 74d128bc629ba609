"""What a Coreapp sends to its callback, and what it makes of the answers."""

import asyncio
from pathlib import Path

import httpx2
import pytest

from router.plugins.whatsapp import WhatsApp
from router.sources import Request
from router.testing.certificates import make_certificate
from router.testing.coreapp import Coreapp, Ledger, Rules, Summary
from router.testing.coreapp.courier import Courier
from router.testing.coreapp.playing import play, settle
from router.testing.coreapp.settings import Callback
from router.testing.shop import Shop
from router.tls import ServerTls
from tests.testing.coreapp.receiver import FAST, PLAIN, Receiver, make_coreapp, receiving


def test_only_200_acknowledges() -> None:
    """Whatever else is answered, other successes included, is sent again until it is 200."""

    async def work() -> None:
        answers = [201, 204, 302, 400, 503]
        receiver = Receiver(lambda number: answers[number] if number < len(answers) else 200)
        async with receiving(receiver) as url, make_coreapp(url) as coreapp:
            coreapp.submit()
            await coreapp.settle()

        (entry,) = coreapp.ledger.entries.values()
        assert (entry.state, entry.attempts) == ("acknowledged", 6)
        assert entry.reasons == {f"answered {status}": 1 for status in answers}
        assert len(set(receiver.bodies)) == 1
        assert len(receiver.bodies) == 6

    asyncio.run(work())


def test_it_gives_up_in_the_end() -> None:
    """What is never acknowledged expires, after attempts that come ever later."""

    async def work() -> None:
        receiver = Receiver(lambda _number: 500)
        rules = Rules(speed=FAST, allows_http=True, expiry=40)
        async with receiving(receiver) as url, make_coreapp(url, rules=rules) as coreapp:
            coreapp.submit()
            await coreapp.settle()

        (entry,) = coreapp.ledger.entries.values()
        assert entry.state == "expired"
        assert 1 <= entry.attempts <= 5  # at 0, 3, 9, 18 and 30 seconds, on a machine that keeps up
        assert coreapp.ledger.summarise().failures == {"answered 500": entry.attempts}

    asyncio.run(work())


def test_so_many_requests_at_a_time() -> None:
    """No more requests are under way than `max_concurrent_requests` allows; the rest wait."""

    async def work() -> None:
        receiver = Receiver()
        async with (
            receiving(receiver) as url,
            make_coreapp(url, webhooks={"max_concurrent_requests": 3}) as coreapp,
        ):
            receiver.open.clear()
            coreapp.submit(20)
            while receiver.at_once < 3:
                await asyncio.sleep(0.01)
            receiver.open.set()
            await coreapp.settle()

        assert receiver.most == 3
        assert len(receiver.bodies) == 20
        assert coreapp.ledger.summarise().acknowledged == 20

    asyncio.run(work())


def test_an_answer_that_never_comes() -> None:
    """A request that takes too long is broken off, counts as a failure, and is sent again."""

    async def work() -> None:
        receiver = Receiver()
        rules = Rules(speed=FAST, allows_http=True, timeout=0.2)
        async with receiving(receiver) as url, make_coreapp(url, rules=rules) as coreapp:
            receiver.open.clear()
            coreapp.submit()
            while len(receiver.bodies) < 2:
                await asyncio.sleep(0.01)
            receiver.open.set()
            await coreapp.settle()

        (entry,) = coreapp.ledger.entries.values()
        assert entry.state == "acknowledged"
        assert entry.reasons["time-out"] >= 1

    asyncio.run(work())


def test_what_is_on_disk_survives_a_restart() -> None:
    """With `callback_persist`, what is not acknowledged is sent again after a restart."""

    async def work() -> None:
        is_down = True
        receiver = Receiver(lambda number: 503 if is_down and number % 2 else 200)
        async with receiving(receiver) as url, make_coreapp(url) as coreapp:
            coreapp.submit(40)
            while len(receiver.bodies) < 40:
                await asyncio.sleep(0.01)
            coreapp.restart()
            is_down = False
            await coreapp.settle()

        summary = coreapp.ledger.summarise()
        assert (summary.acknowledged, summary.lost) == (40, 0)
        assert len(set(receiver.bodies)) == 40

    asyncio.run(work())


def test_what_is_not_on_disk_is_lost_at_a_restart() -> None:
    """Without `callback_persist`, a restart loses what the ledger says, and nothing else."""

    async def work() -> None:
        receiver = Receiver(lambda number: 503 if number % 2 else 200)
        async with (
            receiving(receiver) as url,
            make_coreapp(url, rules=Rules(allows_http=True), callback_persist=False) as coreapp,
        ):
            coreapp.settings.change({"callback_backoff_delay_ms": 900_000})
            coreapp.submit(40)
            await coreapp.courier.wait_below(21)
            coreapp.restart()
            receiver.answer = lambda _number: 200
            coreapp.submit(5)
            await coreapp.settle()

        ledger, bodies = coreapp.ledger, set(receiver.bodies)
        lost = ledger.find("lost")
        assert ledger.summarise().acknowledged == 25
        assert len(lost) == 20
        assert [entry.number for entry in lost if entry.attempts == 1] != []
        assert len(bodies) == len([one for one in ledger.entries.values() if one.attempts])

    asyncio.run(work())


@pytest.mark.parametrize(
    ("answer", "unanswered"),
    [(b"", 1), (b"HTTP/1.1 503 Later\r\ncontent-length: 0\r\n\r\n", 0)],
)
def test_what_was_sent_and_not_answered_stays_in_doubt(answer: bytes, unanswered: int) -> None:
    """The ledger tells which of the lost the receiver may have: those sent and never answered."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65_536)
        writer.write(answer)
        writer.close()

    async def work() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        rules = Rules(allows_http=True)  # the next attempt is seconds away
        async with server, make_coreapp(url, rules=rules, callback_persist=False) as coreapp:
            coreapp.submit()
            (entry,) = coreapp.ledger.entries.values()
            while not entry.reasons:
                await asyncio.sleep(0.01)
            coreapp.restart()

        assert (entry.state, entry.attempts, entry.unanswered) == ("lost", 1, unanswered)

    asyncio.run(work())


def test_a_switch_of_persistence_waits_for_the_restart() -> None:
    """Switched off, it is in force until the restart, which therefore loses nothing yet."""

    async def work() -> None:
        receiver = Receiver(lambda _number: 503)
        async with receiving(receiver) as url, make_coreapp(url) as coreapp:
            coreapp.settings.change({"callback_persist": False})
            coreapp.submit(10)
            coreapp.restart()
            kept = coreapp.ledger.summarise()
            coreapp.submit(7)
            coreapp.restart()
            receiver.answer = lambda _number: 200
            await coreapp.settle()

        assert (kept.waiting, kept.lost) == (10, 0)
        assert coreapp.ledger.summarise().lost == 7
        assert coreapp.ledger.summarise().acknowledged == 10

    asyncio.run(work())


def test_another_process_goes_on(tmp_path: Path) -> None:
    """A Coreapp in the same folder sends what one before it has left, and numbers go on."""

    def make(url: str) -> Coreapp:
        return Coreapp(
            settings={"webhooks": {"url": url}},
            shop=Shop(shape="onprem", seed=2, mix=PLAIN),
            rules=Rules(speed=FAST, allows_http=True),
            folder=tmp_path / "new",
        )

    async def work() -> None:
        receiver = Receiver(lambda _number: 503)
        async with receiving(receiver) as url:
            async with make(url) as former:
                former.submit(6)
            receiver.answer = lambda _number: 200
            async with make(url) as coreapp:
                coreapp.submit(2)
                await coreapp.settle()

        assert len(former.ledger.find("waiting")) == 6
        assert [entry.number for entry in coreapp.ledger.find("acknowledged")] == list(range(8))

    asyncio.run(work())


def test_only_what_is_switched_on_is_sent() -> None:
    """Statuses that the settings have switched off do not arrive."""

    async def work() -> None:
        receiver = Receiver()
        switches = {"message": {"sent": False, "delivered": True, "read": False}}
        async with receiving(receiver) as url, make_coreapp(url, webhooks=switches) as coreapp:
            coreapp.submit(400)
            await coreapp.settle()

        everything = b"".join(receiver.bodies)
        assert b'"status":"delivered"' in everything
        assert b'"status":"sent"' not in everything
        assert b'"status":"read"' not in everything

    asyncio.run(work())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no callback URL is set"),
        ("http://127.0.0.1:9/x", "the callback is not HTTPS"),
        ("https://127.0.0.1:9/x", "nothing answers: connection refused"),
        ("ftp://127.0.0.1/x", "'ftp://127.0.0.1/x' is no URL"),
        ("https://127.0.0.1:port/x", "is no URL"),
    ],
)
def test_what_cannot_be_sent_says_why(url: str, reason: str) -> None:
    """Without a callback, with one that is not HTTPS, or where nobody is, the ledger says so."""

    async def work() -> None:
        rules = Rules(speed=FAST, expiry=1)
        async with make_coreapp(url, rules=rules) as coreapp:
            coreapp.submit()
            await coreapp.settle()

        (entry,) = coreapp.ledger.entries.values()
        assert entry.state == "expired"
        assert reason in next(iter(entry.reasons))

    asyncio.run(work())


def test_a_certificate_must_be_trusted(tmp_path: Path) -> None:
    """A callback nobody trusts gets nothing, until its CA is uploaded and the Coreapp restarted."""
    made = make_certificate(tmp_path)

    async def work() -> None:
        receiver = Receiver()
        certificate = ServerTls(certfile=made.certfile, keyfile=made.keyfile)
        async with (
            receiving(receiver, certificate=certificate) as url,
            make_coreapp(url, rules=Rules(speed=FAST)) as coreapp,
        ):
            coreapp.submit(3)
            await asyncio.sleep(0)
            async with httpx2.AsyncClient(base_url=coreapp.url, trust_env=False) as http:
                login = await http.post("/v1/users/login", auth=("admin", coreapp.password))
                token = login.json()["users"][0]["token"]
                sent = await http.post(
                    "/v1/certificates/webhooks/ca",
                    content=made.ca.read_bytes(),
                    headers={"authorization": f"Bearer {token}", "content-type": "text/plain"},
                )
            assert sent.status_code == 200
            while len(coreapp.ledger.summarise().failures) == 0:
                await asyncio.sleep(0.01)
            before = len(receiver.bodies)
            coreapp.restart()
            await coreapp.settle()

        (reason,) = coreapp.ledger.summarise().failures
        assert reason.startswith("the certificate is not trusted: ")
        assert before == 0
        assert len(receiver.bodies) == coreapp.ledger.summarise().acknowledged == 3

    asyncio.run(work())


def test_credentials_in_the_url_are_sent() -> None:
    """A user and a password in `webhooks.url` arrive as Basic credentials."""
    source = WhatsApp(
        "op", verification="basic", users=[{"username": "coreapp", "password": "p@ss"}]
    )

    async def work() -> None:
        receiver = Receiver()
        async with (
            receiving(receiver) as url,
            make_coreapp(url.replace("//", "//coreapp:p%40ss@")) as coreapp,
        ):
            coreapp.submit()
            await coreapp.settle()

        (headers,), (body,) = receiver.headers, receiver.bodies
        source.verify(Request(headers=headers, body=body))
        assert "@" not in headers["host"]

    asyncio.run(work())


def test_the_cloud_shape_is_signed() -> None:
    """With an app secret, each request has the signature of its own bytes."""
    source = WhatsApp("wa", app_secrets=["made-up"])

    async def work() -> None:
        receiver = Receiver()
        async with receiving(receiver) as url:
            await load(url, rules=Rules(allows_http=True, secret=b"made-up"))

        for headers, body in zip(receiver.headers, receiver.bodies, strict=True):
            source.verify(Request(headers=headers, body=body))
        assert len(set(receiver.bodies)) > 90

    asyncio.run(work())


def test_equal_seeds_leave_equal_ledgers() -> None:
    """The digest is that of numbers and bodies: the same for one seed, another for another."""

    async def work() -> None:
        receiver = Receiver(lambda number: 200 if number % 7 else 500)
        async with receiving(receiver) as url:
            one, two, other = [await load(url, seed=seed) for seed in (1, 1, 2)]

        assert one.digest == two.digest != other.digest
        assert one.notifications == two.notifications == 100

    asyncio.run(work())


async def load(url: str, *, rules: Rules | None = None, seed: int = 1) -> Summary:
    """Send a shop's first hundred notifications, and return the summary."""
    callback = Callback(url, frozenset(), persist=False, concurrency=8, backoff=3, longest=900)
    ledger = Ledger()
    courier = Courier(
        ledger,
        find_callback=lambda: callback,
        rules=rules or Rules(speed=FAST, allows_http=True),
    )
    await play(Shop(seed=seed).draw(), courier, rate=5000, most=100)
    await settle(courier, seconds=30)
    courier.close()
    return ledger.summarise()


def test_a_change_of_url_is_followed_at_once() -> None:
    """What comes after the change goes to the new place, with nothing lost on the way."""

    async def work() -> None:
        old, new = Receiver(), Receiver()
        async with (
            receiving(old) as first,
            receiving(new) as second,
            make_coreapp(first) as coreapp,
        ):
            coreapp.submit(10)
            await coreapp.settle()
            old.open.clear()
            coreapp.submit(10)
            while old.at_once < 6:
                await asyncio.sleep(0.01)
            coreapp.settings.change({"webhooks": {"url": second}})
            old.open.set()
            await coreapp.settle()

        assert (len(old.bodies), len(new.bodies)) == (16, 4)
        assert len({*old.bodies, *new.bodies}) == 20

    asyncio.run(work())


def test_the_traffic_waits_where_too_much_is_unsettled() -> None:
    """The bound holds, however fast notifications are due; how late they were is on the ledger."""

    async def work() -> None:
        receiver = Receiver()
        async with receiving(receiver) as url, make_coreapp(url) as coreapp:
            receiver.open.clear()
            flow = asyncio.ensure_future(
                play(Shop(seed=3).draw(), coreapp.courier, rate=1e6, most=50, bound=10)
            )
            while receiver.at_once < 6:
                await asyncio.sleep(0.01)
            held = coreapp.courier.unsettled
            receiver.open.set()
            await flow
            await coreapp.settle()

        assert held == 10
        assert coreapp.ledger.behind > 0
        assert len(receiver.bodies) == 50

    asyncio.run(work())
