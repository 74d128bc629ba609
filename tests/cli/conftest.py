"""The command, run within the test's process or in one of its own, on a database of the test's."""

import io
import json
import os
import pty
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from router.cli import main

LIMIT = 60.0  # seconds after which a command that waits for something is ended


@dataclass(frozen=True, slots=True)
class Result:
    """What a command left behind.

    Attributes:
        code: Its exit code.
        out: What it printed.
        err: What it told a person.
    """

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON may be anything
        """What it printed as JSON, in its envelope."""
        envelope = json.loads(self.out)
        assert list(envelope) == ["version", "data", "next_cursor"]
        assert envelope["version"] == 1
        return envelope

    @property
    def data(self) -> Any:  # noqa: ANN401 - likewise
        """What is in the envelope."""
        return self.json["data"]

    @property
    def lines(self) -> list[Any]:
        """What it printed as JSON, one value a line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Result]


@pytest.fixture
def environ(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The environment of commands: a folder, and a log, of the test's own."""
    for name in [name for name in os.environ if name.startswith(("ROUTER_", "NO_COLOR"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ROUTER_DATABASE", database)
    monkeypatch.chdir(tmp_path)
    return dict(os.environ)


@pytest.fixture
def run(
    environ: dict[str, str],
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Run:
    """Runs a command in this process; ``stdin`` are the bytes that it may read."""

    def run(*arguments: str, stdin: bytes = b"") -> Result:
        capsysbinary.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        out, err = capsysbinary.readouterr()
        assert isinstance(stopped.value.code, int)
        return Result(stopped.value.code, out.decode(), err.decode())

    return run


Start = Callable[..., Any]


@pytest.fixture
def start(environ: dict[str, str]) -> Start:
    """Starts a command in a process of its own, which is ended with the block."""

    @contextmanager
    def start(*arguments: str, **changes: str) -> Iterator[subprocess.Popen[str]]:
        with subprocess.Popen(
            command(arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environ | changes,
            text=True,
        ) as process:
            limit = threading.Timer(LIMIT, process.kill)
            limit.start()
            try:
                yield process
            finally:
                limit.cancel()
                process.kill()

    return start


@pytest.fixture
def on_terminal(environ: dict[str, str]) -> Callable[..., Result]:
    """Runs a command on a terminal; what it shows is in ``out``.

    At this terminal ``typed`` is entered, as soon as ``prompt`` is shown.
    """

    def on_terminal(*arguments: str, typed: str = "", prompt: str = "", **changes: str) -> Result:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            command(arguments),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environ | {"TERM": "xterm-256color"} | changes,
            start_new_session=True,  # lest it find the terminal of whoever runs the tests
        ) as process:
            os.close(theirs)
            limit = threading.Timer(LIMIT, process.kill)
            limit.start()
            shown = _read_until(ours, prompt.encode()) if prompt else b""
            os.write(ours, typed.encode())
            shown += _read_until(ours, None)
            limit.cancel()
            os.close(ours)
            return Result(process.wait(), shown.decode().replace("\r\n", "\n"), "")

    return on_terminal


def _read_until(terminal: int, prompt: bytes | None) -> bytes:
    """Read what a terminal shows, up to a prompt or until nobody has it open any more."""
    shown = b""
    while prompt is None or prompt not in shown:
        try:
            more = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            more = b""
        if not more:
            break
        shown += more
    return shown


def command(arguments: Sequence[str]) -> list[str]:
    """Return the words that start a process with the command and these arguments."""
    return [sys.executable, "-m", "router.cli", *arguments]
