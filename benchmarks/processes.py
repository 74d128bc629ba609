"""Processes that are measured: started in a folder, waited for, asked what they cost, stopped."""

import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROUTER = (sys.executable, "-c", "from router.cli import main; main()")
BASELINE = (sys.executable, "-m", "benchmarks.baselines")
ROOT = Path(__file__).parents[1]


@contextmanager
def running(
    command: Sequence[str], folder: Path, *, port: int
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server in ``folder`` until the block ends; it has its ``port`` open in the block."""
    environment = {**os.environ, "ROUTER_LOG_LEVEL": "CRITICAL", "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd=folder, env=environment)
    try:
        _wait_for(port, server)
        yield server
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(60)


def find_free_port() -> int:
    """Return a port of the loopback that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def read_cpu(pid: int) -> float:
    """Return the processor time of a process so far, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_machine_cpu() -> float:
    """Return the processor time of everything on this machine so far, in seconds.

    What the host of a virtual machine gave to others, while something waited here, counts too.
    """
    first = Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, _idle, _waiting, *rest = (int(word) for word in first.split()[1:9])
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def read_children_cpu() -> float:
    """Return the processor time of the children of this process that have ended, in seconds."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def read_rss(pid: int) -> float:
    """Return the memory that a process has in use, in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024 / 1024


def read_peak_rss(pid: int) -> float:
    """Return the most memory that a process has had in use so far, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) / 1024


def _wait_for(port: int, server: subprocess.Popen[bytes]) -> None:
    for _ in range(400):
        if server.poll() is not None:
            sys.exit(f"the server ended with exit code {server.returncode}")
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    sys.exit("the server did not listen within 20 s")
