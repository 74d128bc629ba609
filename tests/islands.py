"""Programs whose network ends at this machine: they reach loopback addresses and nothing else."""

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

# A network namespace of its own, which is there as long as whoever holds its stdin open.
HOLD = "ip link set lo up && echo up && exec cat"
UNSHARE = ("unshare", "--map-root-user", "--net", "sh", "-c", HOLD)

# Where the machine allows no namespaces: Python refuses, and others get a proxy that is not there.
REFUSE = '''
"""Refuses connections that lead away from this machine."""

import ipaddress
import sys


def refuse(event, arguments):
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    elif event == "socket.getaddrinfo" and arguments[0] not in (None, "", "localhost"):
        host = arguments[0]
    else:
        return
    text = host.decode() if isinstance(host, bytes) else host
    try:
        is_here = ipaddress.ip_address(text).is_loopback
    except ValueError:
        is_here = text == "localhost"
    if not is_here:
        raise OSError(f"the network is cut: {text}")


sys.addaudithook(refuse)
'''
NOWHERE = "http://127.0.0.1:9"  # the port that discards; nothing listens there


@dataclass(frozen=True, slots=True)
class Island:
    """How a program is started there.

    Attributes:
        prefix: Words before its command line.
        environ: Variables beside those that it has.
    """

    prefix: Sequence[str]
    environ: Mapping[str, str]


@contextmanager
def namespace() -> Iterator[Island | None]:
    """Make one that the kernel cuts off; None where this machine allows none."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        yield None
        return
    pipe = subprocess.PIPE
    with subprocess.Popen(UNSHARE, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as holder:
        assert holder.stdin
        assert holder.stdout
        if holder.stdout.readline() != "up\n":
            yield None
            return
        enter = ("nsenter", "--preserve-credentials", "--user", "--net", "--target")
        yield Island((*enter, str(holder.pid)), {})
        holder.stdin.close()


def refusal(folder: Path) -> Island:
    """Make one in which Python itself refuses, by a module in ``folder``."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(REFUSE, "utf-8")
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"), NOWHERE)
    proxies |= {name.lower(): url for name, url in proxies.items()}
    here = {"PYTHONPATH": str(folder), "UV_OFFLINE": "1", "NO_PROXY": "127.0.0.1"}
    return Island((), {**proxies, **here, "no_proxy": "127.0.0.1"})
