"""A service that events are forwarded to: it checks each signature, and answers as it is told."""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks import Webhook
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TAKEN = Response(status_code=204)

Answer = Callable[[dict[str, Any], int], Awaitable[Response]]


async def take(event: dict[str, Any], number: int) -> Response:
    """Take every event."""
    return TAKEN


@dataclass(slots=True)
class Service:
    """Answers each event as ``answer`` has it, given the event and which request for it this is.

    Attributes:
        asked: How often each id was sent.
        at: When each request for an id came, by a clock that only goes forward.
        taken: The sequences of the events that were taken, by subject, in the order of the first
            time.
        events: Those that were taken, by id.
        headers: Of all requests.
        faults: What was wrong with a request.
    """

    answer: Answer = take
    asked: Counter[str] = field(default_factory=Counter)
    at: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    taken: defaultdict[str, dict[str, None]] = field(default_factory=lambda: defaultdict(dict))
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        body, headers = await request.body(), dict(request.headers)
        event = json.loads(body)
        try:
            Webhook(SECRET).verify(body, headers)
            assert headers["content-type"].startswith("application/cloudevents+json")
            assert headers["webhook-id"] == event["id"]
        except Exception as error:
            self.faults.append(repr(error))
        self.headers.append(headers)
        self.asked[event["id"]] += 1
        self.at[event["id"]].append(time.monotonic())
        answer = await self.answer(event, self.asked[event["id"]])
        if answer.status_code < 300:
            self.events[event["id"]] = event
            self.taken[event["subject"]][event["sequence"]] = None
        await answer(scope, receive, send)

    @property
    def count(self) -> int:
        """How many events were taken, each counted once."""
        return sum(map(len, self.taken.values()))

    def require_all(self, count: int) -> None:
        """Fail unless each of so many events was taken, in order, and correctly signed."""
        assert self.faults == []
        assert self.count == count
        for sequences in self.taken.values():
            assert list(sequences) == sorted(sequences)
