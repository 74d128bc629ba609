"""Requests straight into an ASGI application, and sources that are asked with them."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message

from router.events import Draft
from router.sources import Request, Signed


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document that an error is answered with."""
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document


async def ask(
    app: ASGIApp,
    path: str,
    *,
    method: str = "POST",
    body: bytes = b"",
    headers: Sequence[tuple[str, str]] = (),
    query: str = "",
) -> Answer:
    """Send one request to ``app`` and return its answer."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
    }
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *rest = sent
    return Answer(
        start["status"],
        {name.decode(): value.decode("latin-1") for name, value in start["headers"]},
        b"".join(message.get("body", b"") for message in rest),
    )


def whole(_body: bytes) -> Sequence[Draft]:
    """Split a body into one event: itself."""
    return [Draft(path="$", type="message", subtype="text", conversation="ana")]


@dataclass(frozen=True, slots=True)
class StubSource:
    """A source that does as it is told.

    Attributes:
        name: Its name.
        splits: What it makes of a body.
        verifies: What it says of a request.
        asked: The requests that it was shown.
    """

    name: str = "wa"
    splits: Callable[[bytes], Sequence[Draft]] = whole
    verifies: Callable[[Request], None] = lambda _request: None
    asked: list[Request] = field(default_factory=list)

    def verify(self, request: Request) -> None:
        """Say what it was told to say."""
        self.asked.append(request)
        self.verifies(request)

    def answer_challenge(self, request: Request) -> str:
        """Echo."""
        return request.query["hub.challenge"]

    def split(self, body: bytes) -> Sequence[Draft]:
        """Make of it what it was told to make."""
        return self.splits(body)

    def sign(self, body: bytes) -> Signed:
        """Add nothing."""
        return Signed()
