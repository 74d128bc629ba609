"""What a test can make the settings API of a Coreapp do wrong."""

import asyncio
from dataclasses import dataclass

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send


@dataclass(frozen=True, slots=True)
class _Trouble:
    status: int
    body: bytes
    media_type: str
    seconds: float


class Troubles:
    """Stands before the API, and answers in its place as often as it was told to."""

    def __init__(self) -> None:
        self._left: list[_Trouble] = []

    def answer(
        self, status: int, *, times: int = 1, body: str = "", media_type: str = "text/html"
    ) -> None:
        """Answer the next requests with ``status``, as a broken server or a proxy would."""
        self._left += [_Trouble(status, body.encode(), media_type, 0.0)] * times

    def stall(self, seconds: float, *, times: int = 1) -> None:
        """Keep the next requests waiting for ``seconds``, then answer 504."""
        self._left += [_Trouble(504, b"", "text/html", seconds)] * times

    def clear(self) -> None:
        """Behave again."""
        self._left.clear()

    def wrap(self, app: ASGIApp) -> ASGIApp:
        """Return ``app`` with these troubles before it."""

        async def run(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http" or not self._left:
                await app(scope, receive, send)
                return
            trouble = self._left.pop(0)
            await asyncio.sleep(trouble.seconds)
            answer = Response(trouble.body, trouble.status, media_type=trouble.media_type)
            await answer(scope, receive, send)

        return run
