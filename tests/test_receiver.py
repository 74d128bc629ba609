"""Tests of `router.receiver`: what is answered 200 is stored, and what is refused leaves no row."""

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from tests import samples
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.receiving import LIMIT, TOKEN, assert_problem, only, running, signature, stored, whatsapp

# One engine is enough: what is tested is HTTP; some of it on each engine.
pytestmark = pytest.mark.engines("sqlite")

# Taking.


@in_loop
async def test_a_notification_is_on_disk_when_it_is_answered(database: str) -> None:
    """200 with an empty body; another connection finds it, byte for byte, with its headers."""
    body = json.dumps(samples.onprem_text()).encode()
    headers = [signature(body), ("user-agent", "facebookexternalua"), ("x-odd", "caf\u00e9")]
    async with running(database, whatsapp()) as router:
        before = datetime.now(UTC)
        answer = await ask(router.asgi(), "/webhooks/wa", body=body, headers=headers)
        assert (answer.status, answer.body) == (200, b"")
        event = only(router)
        assert (event.source, event.type, event.notification.body) == ("wa", "message", body)
        assert event.notification.headers == dict(headers)
        assert before <= event.received_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    "body",
    [
        b' {"a" : "\\ud800"}\n',
        '{"a": "\u2028 \U0001f600"}'.encode(),
        b'{"a": 1, "a": 2}',
        b'{"a": "\\u0000", "b": 1e999}',
        b"[]",
        b"{}",
    ],
)
@in_loop
async def test_a_body_is_stored_byte_for_byte(database: str, body: bytes) -> None:
    """Whatever can be read is taken as it is, down to its white space."""
    async with running(database, whatsapp()) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", body=body, headers=[signature(body)])
        assert answer.status == 200
        assert only(router).notification.body == body


@in_loop
async def test_headers_with_credentials_are_not_stored(database: str) -> None:
    """What would let a reader of the log pose as the sender is left out; all else is kept."""
    secret = [
        ("authorization", "Basic dTpw"),
        ("proxy-authorization", "Basic dTpw"),
        ("x-forwarded-authorization", "Bearer t"),
        ("cookie", "session=1"),
        ("x-api-key", "k"),
        ("x-gitlab-token", "t"),
        ("x-amz-security-token", "t"),
        ("x-goog-iap-jwt-assertion", "j"),
        ("x-client-secret", "s"),
    ]
    plain = [("content-type", "application/json"), ("x-hub-signature-256", "sha256=00")]
    source = StubSource()
    async with running(database, source) as router:
        headers = [*secret, *plain]
        answer = await ask(router.asgi(), "/webhooks/wa", body=b"{}", headers=headers)
        assert answer.status == 200
        assert only(router).notification.headers == dict(plain)
    assert source.asked[0].headers == dict(headers), "the source itself sees them all"


@in_loop
async def test_headers_that_come_twice_are_joined(database: str) -> None:
    """As HTTP says, with a comma."""
    async with running(database) as router:
        headers = [("via", "a"), ("via", "b")]
        await ask(router.asgi(), "/webhooks/wa", body=b"{}", headers=headers)
        assert only(router).notification.headers == {"via": "a, b"}


@in_loop
async def test_a_source_is_shown_the_secret_of_the_path(database: str) -> None:
    """The last part of the path, decoded; nothing where there is none."""
    source = StubSource()
    async with running(database, source) as router:
        for path in ("/webhooks/wa/s3cret", "/webhooks/wa", "/webhooks/wa/"):
            answer = await ask(router.asgi(), path, body=path.encode())
            assert answer.status == 200
    assert [request.secret for request in source.asked] == ["s3cret", "", ""]


@in_loop
async def test_a_thousand_statuses_are_taken_whole(database: str) -> None:
    """The largest batch that Meta sends is one notification of a thousand events."""
    statuses = [samples.status("sent", number) for number in range(1000)]
    body = json.dumps(samples.cloud_value(statuses=statuses)).encode()
    async with running(database, whatsapp()) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", body=body, headers=[signature(body)])
        assert answer.status == 200
        events = list(router.log.read())
    assert [event.payload for event in events] == statuses
    assert [event.position for event in events] == list(range(1, 1001))


@pytest.mark.parametrize("size", [3 * 1024 * 1024, LIMIT])
@in_loop
async def test_a_large_body_is_taken_whole(database: str, size: int) -> None:
    """3 MB is what Meta may send; the limit itself still fits."""
    body = json.dumps(samples.onprem_text()).encode().ljust(size)
    async with running(database, whatsapp()) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", body=body, headers=[signature(body)])
        assert answer.status == 200
        assert only(router).notification.body == body


@in_loop
async def test_copies_that_come_at_once_are_stored_once(database: str) -> None:
    """1,000 notifications in 16 concurrent copies each make 1,000 events, without a gap."""
    bodies = [json.dumps({"messages": [samples.text_message(one)]}).encode() for one in range(1000)]
    async with running(database, whatsapp()) as router:
        app = router.asgi()

        async def send(copy: int) -> None:
            for at in range(len(bodies)):
                body = bodies[(at + copy * 7) % len(bodies)]
                answer = await ask(app, "/webhooks/wa", body=body, headers=[signature(body)])
                assert answer.status == 200

        await asyncio.gather(*(send(copy) for copy in range(16)))
        events = list(router.log.read())
        assert [event.position for event in events] == list(range(1, 1001))
        assert {event.notification.body for event in events} == set(bodies)
        assert stored(router) == router.log.head() == 1000


BODY = b'{"contacts": []}'


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"{", [signature(b"{")], 400, "is not one JSON value"),
        (b"", [signature(b"")], 400, "is not one JSON value"),
        (b'"\xff"', [signature(b'"\xff"')], 400, "is not one JSON value"),
        (b"{}{}", [signature(b"{}{}")], 400, "is not one JSON value"),
        (BODY, [], 401, "has no x-hub-signature-256 header"),
        (BODY, [signature(BODY, "another")], 401, "does not match the body"),
        (BODY, [signature(BODY + b" ")], 401, "does not match the body"),
        (BODY, [("x-hub-signature-256", "sha256=\u00e9\u00e9")], 401, "does not match the body"),
        (BODY, [("x-hub-signature-256", "")], 401, "does not match the body"),
        (BODY, [signature(BODY), signature(BODY)], 401, "does not match the body"),
        (BODY.ljust(LIMIT + 1), [signature(BODY)], 413, f"larger than {LIMIT} bytes"),
    ],
)
@in_loop
async def test_what_is_refused_leaves_no_row(
    database: str, body: bytes, headers: Sequence[tuple[str, str]], status: int, words: str
) -> None:
    """Nothing of it is stored, and the sender learns why but nothing that helps to forge."""
    async with running(database, whatsapp()) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", body=body, headers=headers)
        assert_problem(answer, status, words)
        assert (stored(router), router.log.head()) == (0, 0)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/webhooks/other", 404, "there is no source of that name"),
        ("GET", "/webhooks/other", 404, "there is no source of that name"),
        ("POST", "/webhooks/", 404, ""),
        ("POST", "/webhooks", 404, ""),
        ("POST", "/webhooksx/wa", 404, ""),
        ("GET", "/", 404, ""),
        ("PUT", "/webhooks/wa", 405, ""),
        ("DELETE", "/webhooks/wa/x", 405, ""),
        ("POST", "/livez", 405, ""),
        ("POST", "/readyz", 405, ""),
    ],
)
@in_loop
async def test_strangers_get_a_problem_document(
    database: str, method: str, path: str, status: int, words: str
) -> None:
    """Unknown paths and methods, too."""
    async with running(database, whatsapp()) as router:
        answer = await ask(router.asgi(), path, method=method, body=BODY)
        assert_problem(answer, status, words)
        if status == 405:
            assert ("GET" in answer.headers["allow"]) is (method != "POST" or "z" in path)
        assert router.log.head() == 0


# Challenges.


@in_loop
async def test_a_challenge_is_answered(database: str) -> None:
    """Who knows the token gets the challenge back, and nothing else, as plain text."""
    query = f"hub.mode=subscribe&hub.verify_token={TOKEN}&hub.challenge=%3Cb%3E%C3%A9+1"
    async with running(database, whatsapp()) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", method="GET", query=query)
    assert (answer.status, answer.body) == (200, "<b>\u00e9 1".encode())
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "query",
    [
        "",
        "hub.mode=subscribe&hub.challenge=1",
        "hub.mode=subscribe&hub.verify_token=wrong&hub.challenge=1",
        "hub.mode=subscribe&hub.verify_token=%FF%00&hub.challenge=1",
        f"hub.verify_token={TOKEN}&hub.challenge=1",
        f"hub.mode=subscribe&hub.verify_token={TOKEN}",
    ],
)
@in_loop
async def test_a_wrong_challenge_is_forbidden(database: str, query: str) -> None:
    """Everybody else is told 403, and neither the token nor the challenge."""
    async with running(database, whatsapp()) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", method="GET", query=query)
    assert_problem(answer, 403, "")
