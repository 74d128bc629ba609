"""A recipe as its reader follows it: a copy of its folder, and the commands of its README."""

import asyncio
import io
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager, redirect_stdout
from pathlib import Path
from unittest.mock import patch

import httpx2
import pytest

from router.cli import main
from router.plugins.whatsapp import WhatsApp
from router.status import Status
from router.store import Store
from tests.recipes import EXAMPLES
from tests.samples import as_body, cloud_value, text_message
from tests.waiting import until
from tests.wheels import clean_environ

DEFAULT = "http://127.0.0.1:8000"  # what READMEs show
PATIENCE = 60.0  # seconds
# What stays until it is told to stop, and what it says once it is ready, with its address if any.
SERVERS = {
    "uvicorn": r"Uvicorn running on (http://\S+)",
    "router serve": r"receiving at (http://\S+)/webhooks/",
    "router worker": r"delivering",
    "python worker.py": r"delivering",
}


def read_commands(name: str) -> list[list[str]]:
    """The words of each command that the README of a recipe shows, in their order."""
    text = (EXAMPLES / name / "README.md").read_text("utf-8")
    blocks = re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [shlex.split(line.removeprefix("$ ")) for line in lines if line.startswith("$ ")]


def find_sign(words: Sequence[str]) -> str:
    """What a server says once it is ready; nothing where the command is none."""
    line = " ".join(words)
    return next((sign for server, sign in SERVERS.items() if line.startswith(server)), "")


class Running:
    """A server that was started.

    Attributes:
        words: Its command.
        address: Where it listens, if it does.
    """

    def __init__(self, words: list[str], process: subprocess.Popen[bytes], log: Path) -> None:
        self.words, self.address = words, ""
        self._process, self._log = process, log

    @property
    def said(self) -> str:
        """What it has printed so far, to either stream."""
        return self._log.read_text("utf-8")

    def wait_ready(self, pattern: str) -> None:
        """Wait until it says that it is there."""
        wait(lambda: re.search(pattern, self.said) or self._process.poll() is not None)
        found = re.search(pattern, self.said)
        assert found, f"{self.words}: {self.said}"
        self.address = found[1] if found.groups() else ""

    def stop(self) -> None:
        """Tell it to stop, as a supervisor does; it must finish what it has begun, and say so."""
        self._process.terminate()
        code = self._process.wait(PATIENCE)
        if self.words[0] == "uvicorn":  # ends by the signal itself, once all is stopped
            assert "Application shutdown complete." in self.said, self.said
            assert code in (0, -signal.SIGTERM), self.said
        else:
            assert code == 0, self.said

    def kill(self) -> None:
        """End it at once, if it is still there."""
        self._process.kill()
        self._process.wait()


class Kitchen:
    """Where a recipe is followed; see `cooking`.

    Attributes:
        folder: The copy of its folder.
        environ: Of its commands.
        servers: Those that were started, also the ones that are stopped by now.
        printed: What each of the other commands printed.
    """

    def __init__(self, name: str, folder: Path, environ: Mapping[str, str]) -> None:
        self.folder = folder / name
        ignore = shutil.ignore_patterns(".venv", "__pycache__", "*.db*")
        shutil.copytree(EXAMPLES / name, self.folder, ignore=ignore)
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        self.environ = {**clean_environ(), "PATH": path, "ROUTER_PORT": "0", **environ}
        self.servers: list[Running] = []
        self.printed: dict[str, str] = {}

    @property
    def address(self) -> str:
        """Where the last server that listens does."""
        return [server.address for server in self.servers if server.address][-1]

    def follow(self, name: str) -> None:
        """Carry out each command of the README; servers stay, all others must succeed."""
        for words in read_commands(name):
            self.call(words)

    def call(self, words: list[str]) -> None:
        """Carry out one command: `uv run` is the environment of these tests, curl is played."""
        words = words[2:] if words[:2] == ["uv", "run"] else words
        if words[0] == "export":
            self.environ.update(dict(pair.split("=", 1) for pair in words[1:]))
        elif find_sign(words):
            self.start(words)
        elif words[0] == "curl":
            self.printed[" ".join(words)] = self.get(words[1].removeprefix(DEFAULT))
        else:
            self.printed[" ".join(words)] = self._run(words)

    def start(self, words: list[str]) -> Running:
        """Start a server and wait until it is ready."""
        more = ["--port", "0"] if words[0] == "uvicorn" else []
        log = self.folder / f"{len(self.servers)}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*words, *more],
                cwd=self.folder,
                env={**self.environ, "PYTHONUNBUFFERED": "1"},
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        self.servers.append(Running(words, process, log))
        self.servers[-1].wait_ready(find_sign(words))
        return self.servers[-1]

    def get(self, path: str) -> str:
        """Return a page."""
        return httpx2.get(self.address + path, trust_env=False).raise_for_status().text

    def post(self, path: str, numbers: range) -> None:
        """Send a message for each of ``numbers``, each of another customer; all are taken."""
        source = WhatsApp("wa", app_secrets=[self.environ["WA_SECRET"]])
        with httpx2.Client(base_url=self.address, trust_env=False) as client:
            for number in numbers:
                message = text_message(number, **{"from": f"52155{number}"})
                body = as_body(cloud_value(messages=[message]))
                headers = source.sign(body).headers
                client.post(path, content=body, headers=headers).raise_for_status()

    def _run(self, words: list[str]) -> str:
        """Run a command to its end and return what it printed; it must succeed."""
        environ = dict(self.environ)
        if self.servers:
            words = [word.replace(DEFAULT, self.address) for word in words]
            environ["ROUTER_URL"] = self.address
        if words[0] == "router":
            return self._run_here(words[1:], environ)
        words = ["python", *words] if words[0].endswith(".py") else words
        done = subprocess.run(
            words, cwd=self.folder, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def _run_here(self, words: list[str], environ: Mapping[str, str]) -> str:
        """Run our own command in this process: another one takes a second to begin."""
        out = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
        with (
            chdir(self.folder),
            patch.dict(os.environ, environ, clear=True),
            redirect_stdout(out),
            pytest.raises(SystemExit) as stopped,
        ):
            main(words)
        out.seek(0)
        printed = out.read()
        assert stopped.value.code == 0, (words, printed)
        return printed


@contextmanager
def cooking(name: str, folder: Path, environ: Mapping[str, str] | None = None) -> Iterator[Kitchen]:
    """Yield a copy of the recipe in ``folder``; what was started there ends with the block."""
    kitchen = Kitchen(name, folder, environ or {})
    try:
        yield kitchen
    finally:
        for server in kitchen.servers:
            server.kill()


def wait(condition: Callable[[], object]) -> None:
    """Return as soon as ``condition`` holds."""
    asyncio.run(until(condition, seconds=PATIENCE))


def is_settled(store: Store, head: int) -> bool:
    """Whether the log ends at ``head`` and the plugin has had all of it."""
    crm = Status(store).subscription("crm")
    return (crm.head, crm.checkpoint, crm.retrying, crm.dead) == (head, head, 0, 0)
