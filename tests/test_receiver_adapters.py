"""Tests of `router.receiver` with adapters that break their promises: no body is lost by it."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from router.errors import Unreadable
from router.events import Draft
from router.sources import Request
from tests.loops import in_loop
from tests.posting import StubSource, ask
from tests.receiving import assert_problem, only, running

# One engine is enough: what is tested is HTTP.
pytestmark = pytest.mark.engines("sqlite")


def fail(*_asked: object) -> Sequence[Draft]:
    """Raise what nobody foresaw."""
    raise KeyError("+52" + "1" * 11)


def drafts_of(*drafts: object) -> Callable[[bytes], Sequence[Draft]]:
    """Return a split that finds these, whatever they are."""
    return lambda _body: drafts  # type: ignore[return-value]


@pytest.mark.parametrize(
    "splits",
    [
        fail,
        drafts_of(),
        drafts_of(None),
        drafts_of(Draft(path="entry", type="message", subtype="text")),
        drafts_of(Draft(path="$", type="massage", subtype="text")),  # type: ignore[arg-type]
        drafts_of(
            Draft(path="$", type="message", subtype="text"),
            Draft(path="$.a", type="message", subtype="text", conversation="\ud800"),
        ),
    ],
)
@in_loop
async def test_an_adapter_that_fails_costs_the_types_not_the_body(
    database: str, splits: Callable[[bytes], Sequence[Draft]], caplog: pytest.LogCaptureFixture
) -> None:
    """The body is kept as one malformed event; a redelivery of it is still known."""
    body = b'{"from": "' + b"+52" + b"1" * 11 + b'"}'
    async with running(database, StubSource(splits=splits)) as router:
        for _ in range(2):
            answer = await ask(router.asgi(), "/webhooks/wa", body=body)
            assert answer.status == 200
        event = only(router)
        assert (event.type, event.subtype, event.path) == ("other", "malformed", "$")
        assert event.notification.body == body
    assert "+52" + "1" * 11 not in caplog.text


@in_loop
async def test_an_adapter_may_split_lazily(database: str) -> None:
    """Events that come from a generator are all stored, not lost on the way."""

    def splits(_body: bytes) -> Iterator[Draft]:
        yield Draft(path="$.a", type="message", subtype="text")
        yield Draft(path="$.b", type="sent", subtype="sent")

    source = StubSource(splits=splits)  # type: ignore[arg-type]
    async with running(database, source) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", body=b'{"a": 1, "b": 2}')
        assert answer.status == 200
        assert [event.type for event in router.log.read()] == ["message", "sent"]


@in_loop
async def test_an_adapter_may_find_a_body_unreadable(database: str) -> None:
    """Its reason is given, even where UTF-8 cannot hold it."""

    def splits(_body: bytes) -> Sequence[Draft]:
        raise Unreadable("no form: \ud800")

    async with running(database, StubSource(splits=splits)) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", body=b"a=b")
        assert_problem(answer, 400, "no form: \ud800")
        assert router.log.head() == 0


@in_loop
async def test_an_adapter_that_cannot_verify_has_verified_nothing(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Its failure refuses the request, and is told in the log without what was sent."""

    def verifies(request: Request) -> None:
        fail(request)

    async with running(database, StubSource(verifies=verifies)) as router:
        answer = await ask(router.asgi(), "/webhooks/wa", body=b"{}")
        assert_problem(answer, 401, "could not be verified")
        assert router.log.head() == 0
    assert "the adapter of source 'wa' failed to verify" in caplog.text
    assert "+52" + "1" * 11 not in caplog.text


@in_loop
async def test_what_nobody_foresaw_is_a_problem_document_too(
    database: str, caplog: pytest.LogCaptureFixture
) -> None:
    """500 without the error's own words, which may be a stranger's."""
    async with running(database) as router:  # the stub knows no challenge: KeyError
        answer = await ask(router.asgi(), "/webhooks/wa", method="GET", query="a=b")
        assert_problem(answer, 500, "the router's log tells more")
    assert "KeyError" in caplog.text
    assert "hub.challenge'" not in answer.body.decode()
