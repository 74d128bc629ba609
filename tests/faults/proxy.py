"""What stands between a process and its PostgreSQL server: it sees each message, and may cut in."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from sqlalchemy import make_url

from tests.faults.installation import HOST

SIZE = 1 << 20


class Line:
    """One connection through the proxy.

    Attributes:
        is_cut: Whether the server's next answer ends it, instead of being passed on.
        statements: How many messages were sent since the transaction began that is looked at; None
            is none.
    """

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.is_cut = False
        self.statements: int | None = None
        self.client = client
        self.server = server

    def close(self) -> None:
        """End it on both sides."""
        for side in (self.client, self.server):
            with suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)


See = Callable[[Line, bytes], None]


class Proxy:
    """Passes on what clients and a server send to each other.

    Args:
        url: Of the database behind it.
        see: Called with each message of a client before it is passed on.
    """

    def __init__(self, url: str, *, see: See) -> None:
        self._url = make_url(url)
        self._see = see
        self._listening = socket.create_server((HOST, 0))

    @property
    def url(self) -> str:
        """The URL of the database by way of it."""
        port = self._listening.getsockname()[1]
        return self._url.set(host=HOST, port=port).render_as_string(hide_password=False)

    @contextmanager
    def running(self) -> Iterator["Proxy"]:
        """Pass on while the block lasts."""
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            with suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection((HOST, self._url.port or 5432))
                line = Line(client, server)
                for work in (self._pass_up, self._pass_down):
                    threading.Thread(target=work, args=(line,), daemon=True).start()

    def _pass_up(self, line: Line) -> None:
        with suppress(OSError), line.client:
            while data := line.client.recv(SIZE):
                self._see(line, data)
                line.server.sendall(data)
        line.close()

    def _pass_down(self, line: Line) -> None:
        with suppress(OSError), line.server:
            while data := line.server.recv(SIZE):
                if line.is_cut:
                    break
                line.client.sendall(data)
        line.close()
