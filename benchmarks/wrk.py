"""HTTP load from wrk: as much as a server takes, or so many notifications a second."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import NotRequired, TypedDict, Unpack

import msgspec

from benchmarks.processes import read_children_cpu

SCRIPT = Path(__file__).with_name("notifications.lua")
GRACE = 60  # seconds that a load may take to end


class Load(msgspec.Struct, frozen=True):
    """What became of a load.

    Attributes:
        requests: That were answered.
        micros: For how long, in microseconds.
        p50: Milliseconds from sent to answered.
        p99: Likewise.
        errors: Answers other than 2xx and 3xx, and failures of connections.
        late: Milliseconds that 99 of 100 were at most late for want of a free connection; 0 where
            no rate was asked for.
        share: Of a core, that wrk itself took.
    """

    requests: int
    micros: int
    p50: float
    p99: float
    errors: int
    late: float
    share: float = 0.0

    @property
    def rate(self) -> float:
        """Notifications answered a second."""
        return self.requests / self.micros * 1e6


class Chosen(TypedDict):
    """What is chosen of a load; see `write_command`."""

    connections: int
    seconds: int
    run: str
    secret: NotRequired[str]
    rate: NotRequired[int]
    padding: NotRequired[int]
    marked: NotRequired[bool]


def require_wrk() -> None:
    """Stop with advice where there is no load generator."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: apt-get install wrk")


def write_command(
    port: int,
    *,
    connections: int,
    seconds: int,
    run: str,
    secret: str = "",
    rate: int = 0,
    padding: int = 0,
    marked: bool = False,
) -> list[str]:
    """Return the command that loads a server on the loopback.

    Args:
        port: Of the server.
        connections: Each has one request under way.
        seconds: For how long.
        run: Its name; the ids of two runs differ.
        secret: What each notification is signed with, if anything.
        rate: Notifications a second of all connections; 0 is as many as are answered.
        padding: Bytes of text that each has more.
        marked: Whether a header tells the id of the message.
    """
    chosen = {
        "run": run,
        "secret": secret,
        "rate": str(rate or ""),
        "padding": str(padding or ""),
        "marked": "yes" if marked else "",
    }
    return [
        *("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(SCRIPT)),
        *(f"http://127.0.0.1:{port}", "--"),
        *(f"{name}={value}" for name, value in chosen.items() if value),
    ]


def read_output(output: str) -> Load:
    """Return what wrk tells of a load."""
    line = next(line for line in output.splitlines() if line.startswith("RESULT"))
    requests, micros, p50, p99, errors, late = (int(word) for word in line.split()[1:])
    return Load(requests, micros, p50 / 1e3, p99 / 1e3, errors, late)


def load(port: int, **chosen: Unpack[Chosen]) -> Load:
    """Load a server and wait until that is over; see `write_command`."""
    command, seconds = write_command(port, **chosen), chosen["seconds"]
    before = read_children_cpu()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=seconds + GRACE
    )
    share = (read_children_cpu() - before) / seconds
    return msgspec.structs.replace(read_output(done.stdout), share=share)
