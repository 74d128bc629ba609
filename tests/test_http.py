"""`context.http` through the engine: lent for a call, on record if that fails, closed at last."""

import logging
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from starlette.responses import Response

from router import AsyncContext, Context, Event, EventLog, Reject, Router, hookimpl
from router.cli.serve import configure_logging
from router.dead import DeadLetters
from router.errors import RouterError
from tests.entries import NOON, append_messages
from tests.hosted import Parrot, hosted
from tests.loops import in_loop
from tests.waiting import until

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def parrot() -> Parrot:
    """Somebody who answers."""
    return Parrot(Response("no", 503))


@pytest.fixture
def url(parrot: Parrot) -> Iterator[str]:
    """Where that somebody is."""
    with hosted(parrot) as found:
        yield found


class Plain:
    """A plugin of plain handlers that keeps what it was lent."""

    plugin_name = "crm"

    def __init__(self, url: str) -> None:
        self.url = url
        self.lent: list[httpx2.Client | httpx2.AsyncClient] = []
        self.contexts: list[Context] = []

    @hookimpl
    def on_message(self, event: Event, context: Context) -> None:
        """Ask twice, by one client, and refuse the event."""
        assert context.http is context.http
        self.lent.append(context.http)
        self.contexts.append(context)
        context.http.get(f"{self.url}/a?token=hunter2")
        answer = context.http.post(f"{self.url}/b", json=event.payload)
        raise Reject(f"it answered {answer.status_code}")


class Async(Plain):
    """A plugin of async handlers that does the same."""

    @hookimpl
    async def on_message(self, event: Event, context: AsyncContext) -> None:  # type: ignore[override]
        """Ask twice, by one client, and refuse the event."""
        assert context.http is context.http
        self.lent.append(context.http)
        self.contexts.append(context)
        await context.http.get(f"{self.url}/a?token=hunter2")
        answer = await context.http.post(f"{self.url}/b", json=event.payload)
        raise Reject(f"it answered {answer.status_code}")


@pytest.mark.parametrize("kind", [Plain, Async])
@in_loop
async def test_a_handler_calls_out(
    log: EventLog, parrot: Parrot, url: str, kind: type[Plain]
) -> None:
    """Each call has a client of its own; what it asked is on record with the attempt."""
    append_messages(log, ["ana", "ben"])
    plugin = kind(url)
    router = Router(
        log.store.engine,
        plugins=[plugin],
        subscriptions={"crm": {"start": "beginning"}},
        http_allow=["127.0.0.1"],
        receives=False,
    )
    letters = DeadLetters(log.store)
    async with router:
        await until(lambda: len(letters.list(limit=9)) == 2)
    assert len({id(client) for client in plugin.lent}) == 2
    assert sorted(path for _, path, *_ in parrot.asked) == [*["/a?token=hunter2"] * 2, *["/b"] * 2]
    for letter in letters.list(limit=9):
        (attempt,) = letters.attempts(letter)
        assert attempt.error == "it answered 503"
        _, asked = (attempt.traceback or "").split("It had asked by HTTP:\n")
        first, second = asked.splitlines()
        assert first.startswith(f"  GET {url}/a?token=***: 503 after ")
        assert second.startswith(f"  POST {url}/b: 503 after ")
    with pytest.raises(RouterError, match="the router has stopped"):
        _ = type(plugin.contexts[0])(1, NOON, "crm", log, outlet=plugin.contexts[0].outlet).http


@in_loop
async def test_nothing_inside_is_reached_by_default(
    log: EventLog, parrot: Parrot, url: str
) -> None:
    """A router that allows nothing lets no handler ask this machine."""
    append_messages(log, ["ana"])
    router = Router(
        log.store.engine,
        plugins=[Async(url)],
        subscriptions={"crm": {"start": "beginning", "retry": {"attempts": 1}}},
        receives=False,
    )
    letters = DeadLetters(log.store)
    async with router:
        await until(lambda: letters.list(limit=9))
    (letter,) = letters.list(limit=9)
    assert letter.error.startswith("OutOfReach: 127.0.0.1, this machine itself")
    assert parrot.asked == []


def test_a_slip_in_what_is_allowed_is_refused_at_once(tmp_path: Path) -> None:
    """A router is not made with a list that does not mean what it says."""
    with pytest.raises(RouterError, match="http_allow must be a list of networks and hosts"):
        Router(f"sqlite:///{tmp_path}/router.db", http_allow=["10.0.0.1/8"])


def test_a_context_made_by_hand_asks_nobody(log: EventLog) -> None:
    """A handler that is called in a test is told what is missing."""
    for kind in (Context, AsyncContext):
        with pytest.raises(RouterError, match="made by hand: give it an outlet"):
            _ = kind(1, NOON, "crm", log).http


def test_the_command_does_not_log_whole_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client's library would log each URL, secrets and all, at the level that we log at."""
    logger = logging.getLogger("httpx2")
    monkeypatch.setattr(logger, "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger("uvicorn"), "level", logging.NOTSET)
    monkeypatch.setattr(logging.getLogger("alembic"), "level", logging.NOTSET)
    configure_logging()
    assert not logger.isEnabledFor(logging.INFO)
