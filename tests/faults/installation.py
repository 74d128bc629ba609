"""A router over TLS and a simulated Coreapp, set up as an operator would: by commands alone."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from router.testing.certificates import Made, make_certificate
from router.testing.coreapp import RunningCoreapp, running_coreapp
from router.tls import ServerTls
from tests.faults.server import COMMAND, Server, serve
from tests.waiting import until

HOST = "127.0.0.1"
LIMIT = 120.0  # seconds that anything may take: far more than it needs
CONFIG = """
database = "sqlite:///router.db"

[sources.coreapp]
adapter = "whatsapp"
verification = "path"
secrets = ["file:coreapp.secret"]
channel = "+12005550100"
"""


@dataclass(frozen=True, slots=True)
class Installation:
    """A router that may be started and killed, and a Coreapp that runs.

    Attributes:
        folder: Of the router's settings, certificate and database.
        port: The router's, each time that it is started.
        made: The router's certificate; its CA is an internal one.
        coreapp: The Coreapp.
        environ: Of commands.
    """

    folder: Path
    port: int
    made: Made
    coreapp: RunningCoreapp
    environ: Mapping[str, str] = field(repr=False)

    @property
    def acknowledged(self) -> int:
        """How many notifications the Coreapp has seen answered 200."""
        return self.coreapp.ledger.count().acknowledged

    def serve(self, *, program: str = COMMAND) -> AbstractContextManager[Server]:
        """Start the router; it is killed with the block."""
        files = ("--ssl-certfile", str(self.made.certfile), "--ssl-keyfile", str(self.made.keyfile))
        return serve(self.folder, "--port", str(self.port), *files, program=program)

    def kill(self, server: Server, *, after: int) -> None:
        """Kill the router as soon as so many notifications, of all, are acknowledged."""
        asyncio.run(until(lambda: self.acknowledged >= after, seconds=LIMIT))
        server.kill()

    def configure(self, *options: str) -> str:
        """Run `router coreapp configure`, and return what it tells a person."""
        return self.run("coreapp", "configure", *options, "--yes").stderr

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command."""
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *words],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done

    def export(self) -> list[dict[str, object]]:
        """Return what `router events export` prints."""
        return [json.loads(line) for line in self.run("events", "export").stdout.splitlines()]


@contextmanager
def installing(folder: Path) -> Iterator[Installation]:
    """Set both up: the Coreapp sends to the router over HTTPS once there is something to send.

    Args:
        folder: Where an empty ``router.db`` is.
    """
    (folder / "router.toml").write_text(CONFIG)
    (folder / "coreapp.secret").write_text("made-up-secret-of-the-callback")
    made, theirs = (make_certificate(folder / name) for name in ("ours", "theirs"))
    environ = {name: text for name, text in os.environ.items() if not name.startswith("ROUTER_")}
    environ["XDG_STATE_HOME"] = str(folder / "state")
    certificate = ServerTls(certfile=theirs.certfile, keyfile=theirs.keyfile)
    with reserve_port() as port, running_coreapp(certificate=certificate) as coreapp:
        (folder / "password").write_text(coreapp.password)
        found = Installation(folder, port, made, coreapp, environ)
        found.run(
            *("coreapp", "login", "--url", coreapp.url, "--cacert", str(theirs.ca)),
            *("--password", "file:password"),
        )
        said = found.configure(
            *("--router-url", f"https://{HOST}:{port}", "--source", "coreapp"),
            *("--webhook-ca", str(made.ca), "--sent", "--no-read"),
            *("--max-concurrent-requests", "16"),
            *("--backoff-delay", "200ms", "--max-backoff-delay", "1s"),
        )
        assert "Restart all nodes of the Coreapp" in said
        coreapp.restart()
        yield found


@contextmanager
def reserve_port() -> Iterator[int]:
    """Yield a port that nobody but a server that asks for it gets while the block lasts.

    Linux lets two sockets that reuse addresses bind to one port while neither listens, and never
    takes a port that is bound for a connection: or else one to a router that is down could, by
    chance, begin at the very port that it leads to, and keep the router from it.
    """
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind((HOST, 0))
        yield int(kept.getsockname()[1])
