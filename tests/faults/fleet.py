"""Receivers and workers of one log, each a process of its own, to be killed and stood still."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.faults.installation import HOST, reserve_port
from tests.faults.server import COMMAND

CONFIG = """
database = "{database}"
plugins_dir = ["handlers"]

[sources.wa]
adapter = "whatsapp"
verification = "none"
"""
LIMIT = 300.0  # seconds that a start or an end may take: far more than it needs


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    Attributes:
        status: Its status; 0 where it did not answer at all.
        seconds: How long that took.
        retry_after: What it said of another try.
    """

    status: int
    seconds: float
    retry_after: str | None = None


class Member:
    """One process of a fleet, which is started again and again.

    Args:
        command: What to run.
        folder: In which.
        said: The file that it writes what it has to say to.
        port: Where it listens; None where it does not.
        environ: Of it, beside that of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        said: Path,
        port: int | None,
        environ: Mapping[str, str],
    ) -> None:
        self.said = said
        self._command = command
        self._folder = folder
        self._port = port
        self._environ = {**os.environ, **environ}
        self._begin = 0  # of what this life has said
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._port is not None
        return self._port

    @property
    def is_receiver(self) -> bool:
        """Whether it takes notifications."""
        return self._port is not None

    @property
    def pid(self) -> int:
        """Of its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def text(self) -> str:
        """What it has said in all its lives."""
        return self.said.read_text() if self.said.exists() else ""

    def start(self) -> None:
        """Start it; it need not be ready when this returns."""
        with self.said.open("ab") as output:
            self._begin = output.tell()
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, stderr=output, env=self._environ
            )

    def wait_ready(self) -> None:
        """Wait until it receives or delivers."""
        end = time.monotonic() + LIMIT
        while not self._is_ready():
            self.require_alive()
            assert time.monotonic() < end, f"it does not answer: {self.text[-2_000:]}"
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        if self.is_receiver:
            return self.ask("/livez").status == 200
        return b"delivering" in self.said.read_bytes()[self._begin :]

    def require_alive(self) -> None:
        """Fail with what it said if it has ended by itself."""
        assert self._process is not None
        assert self._process.poll() is None, f"it has ended: {self.text[-3_000:]}"

    def ask(self, path: str, body: bytes | None = None, *, seconds: float = LIMIT) -> Answer:
        """Send a request, a POST where there is a ``body``, and return the answer."""
        began = time.monotonic()
        connection = http.client.HTTPConnection(HOST, self.port, timeout=seconds)
        try:
            connection.request("GET" if body is None else "POST", path, body)
            response = connection.getresponse()
            response.read()
        except (OSError, http.client.HTTPException):
            return Answer(0, time.monotonic() - began)
        finally:
            connection.close()
        retry_after = response.headers["retry-after"]
        return Answer(response.status, time.monotonic() - began, retry_after)

    def post(self, body: bytes, *, seconds: float = LIMIT) -> Answer:
        """Send a notification and return the answer."""
        return self.ask("/webhooks/wa", body, seconds=seconds)

    def kill(self) -> None:
        """End it without a chance to do anything."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Let it stand still."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End it as an operator would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        assert self._process.wait(LIMIT) == 0, self.text[-3_000:]


@dataclass(frozen=True, slots=True)
class Fleet:
    """The processes of one log."""

    receivers: Sequence[Member]
    workers: Sequence[Member]

    @property
    def members(self) -> Sequence[Member]:
        """All of them."""
        return (*self.receivers, *self.workers)


def configure(folder: Path, database: str) -> None:
    """Write the settings of a fleet to ``folder``; without plugins it only receives."""
    (folder / "handlers").mkdir(exist_ok=True)
    (folder / "router.toml").write_text(CONFIG.format(database=database))


@contextmanager
def running(
    folder: Path,
    *,
    receivers: int = 0,
    workers: int = 0,
    own: Mapping[str, str] | None = None,
) -> Iterator[Fleet]:
    """Start a fleet in ``folder``, where its settings are; what is left is killed with the block.

    Args:
        folder: Where `configure` was called.
        receivers: How many.
        workers: How many.
        own: The URLs of the database for some of them, such as ``receiver0`` or ``worker1``.
    """
    urls = own or {}
    with ExitStack() as stack:
        ports = [stack.enter_context(reserve_port()) for _ in range(receivers)]
        fleet = Fleet(
            [_make(folder, f"receiver{at}", port, urls) for at, port in enumerate(ports)],
            [_make(folder, f"worker{at}", None, urls) for at in range(workers)],
        )
        for member in fleet.members:
            stack.callback(member.kill)
            member.start()
        for member in fleet.members:
            member.wait_ready()
        yield fleet


def _make(folder: Path, name: str, port: int | None, urls: Mapping[str, str]) -> Member:
    words = ["worker"] if port is None else ["serve", "--no-worker", "--port", str(port)]
    command = [sys.executable, "-c", COMMAND, *words]
    environ = {"ROUTER_DATABASE": urls[name]} if name in urls else {}
    return Member(command, folder, said=folder / f"{name}.txt", port=port, environ=environ)
