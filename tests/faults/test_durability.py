"""The disk is watched: between a request and its 200 the log's commit is flushed.

A kill leaves the system's caches alone, so that no kill can tell a durable log from one that is
not: the system calls can.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults import mutants
from tests.faults.server import COMMAND, CONFIG, Server, connect, serve

READS = "read,readv,recvfrom,recvmsg"
WRITES = "write,writev,sendto,sendmsg"
FLUSHES = "fsync,fdatasync"

_LINE = re.compile(r"(?P<thread>[0-9]+) +(?P<rest>.*)")
_RESUMED = re.compile(r"<\.\.\. [a-z]+ resumed>(?P<rest>.*)")
_UNFINISHED = " <unfinished ...>"


@pytest.fixture
def strace(tmp_path: Path) -> list[str]:
    """The command that writes down a process's system calls."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    tried = subprocess.run([program, "-o", os.devnull, "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(f"strace may not trace here: {tried.stderr.decode().strip()}")
    calls = f"trace={READS},{WRITES},{FLUSHES}"
    return [program, "-f", "-y", "-s", "200", "-e", calls, "-o", str(tmp_path / "trace.txt")]


@pytest.fixture
def folder(tmp_path: Path, empty_database: Path) -> Path:
    """A folder to serve from."""
    shutil.copy(empty_database, tmp_path / "router.db")
    (tmp_path / "router.toml").write_text(CONFIG)
    return tmp_path


def read_calls(trace: Path) -> list[str]:
    """Return the system calls in the order in which they began to have an effect.

    A call that reads or flushes has it when it returns, one that writes when it is made; strace
    tells of a call in two lines where another thread's comes between.
    """
    calls: list[str] = []
    begun: dict[str, str] = {}
    for line in trace.read_text(errors="replace").splitlines():
        match = _LINE.fullmatch(line)
        assert match is not None, line
        thread, rest = match["thread"], match["rest"]
        resumed = _RESUMED.fullmatch(rest)
        if rest.endswith(_UNFINISHED):
            begun[thread] = rest.removesuffix(_UNFINISHED)
            if begun[thread].split("(")[0] in WRITES.split(","):
                calls.append(begun.pop(thread))
        elif resumed is None:
            calls.append(rest)
        elif thread in begun:
            calls.append(begun.pop(thread) + resumed["rest"])
    return calls


def is_flushed(calls: list[str], mark: str) -> bool:
    """Whether the log's file is flushed between the request that holds ``mark`` and its 200."""
    [received] = [at for at, call in enumerate(calls) if mark in call and "POST /webhooks" in call]
    answered = next(
        at
        for at, call in enumerate(calls[received:], received)
        if call.split("(")[0] in WRITES.split(",") and "HTTP/1.1 200" in call
    )
    return any(
        call.split("(")[0] in FLUSHES.split(",") and "router.db-wal>)" in call and "= 0" in call
        for call in calls[received:answered]
    )


def make_body(number: int) -> bytes:
    """Return a notification that a trace shows in whole."""
    return json.dumps({"statuses": [{"id": f"wamid.{number}", "status": "sent"}]}).encode()


async def post(server: Server, *bodies: bytes) -> None:
    """Send notifications, one after another."""
    async with connect(server) as client:
        for body in bodies:
            assert await client.post(body) == 200


@pytest.mark.skipif(sys.platform != "linux", reason="strace is a tool of Linux")
@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (COMMAND, True),
        (mutants.SYNCHRONOUS_NORMAL, False),
        (mutants.SYNCHRONOUS_OFF, False),
        (mutants.ANSWERS_FIRST, False),
    ],
    ids=["as it is", "NORMAL", "OFF", "answers first"],
)
def test_the_log_is_flushed_before_the_answer(
    strace: list[str], folder: Path, program: str, *, expected: bool
) -> None:
    """An fdatasync of the write-ahead log lies between the request and 200; mutants have none."""
    with serve(folder, "--no-worker", program=program, under=strace) as server:
        # The first one begins a new file, whose head any setting but OFF flushes.
        asyncio.run(post(server, make_body(1), make_body(2)))
        server.stop()
    assert is_flushed(read_calls(folder / "trace.txt"), "wamid.2") is expected
