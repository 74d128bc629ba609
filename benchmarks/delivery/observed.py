"""`router serve` with an eye on it: ``python -m benchmarks.delivery.observed PORT``.

It takes the configuration of its folder, and leaves what it has seen in a file there.
"""

import sys
import threading
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from benchmarks.delivery.sightings import SIGHTINGS
from router import Router
from router.cli.serve import receive, run

FILE = "seen.json"
MARK = b"x-id"


class Observed(Router):
    """A router that notes when it has sent each 200."""

    def asgi(self) -> ASGIApp:
        """Return its application."""
        return observe(super().asgi())


def observe(application: ASGIApp) -> ASGIApp:
    """Return an application that does the same, and notes each 200 once the server has it."""

    async def observed(scope: Scope, receive: Receive, send: Send) -> None:
        key = next(
            (value for name, value in scope.get("headers", ()) if name == MARK), b""
        ).decode()

        async def note(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start" and message["status"] == 200:
                SIGHTINGS.answer(key)

        await application(scope, receive, note)

    return observed


def main(port: int) -> None:
    """Serve until a signal comes."""
    sampling = threading.Thread(target=SIGHTINGS.take_samples)
    sampling.start()
    try:
        run(receive(Observed.from_config(), host="127.0.0.1", port=port, tls=None, names=[]))
    finally:
        SIGHTINGS.finish(Path(FILE))
        sampling.join()


if __name__ == "__main__":
    main(int(sys.argv[1]))
