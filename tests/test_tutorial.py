"""The tutorial keeps its word: each block is carried out in its order, from nothing to a replay.

The built wheel is installed in a fresh folder, and then the network is cut: by a namespace of the
kernel's where the machine allows one, else by a module that refuses and by proxies that are none.
"""

import ast
import re
import shlex
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.islands import Island, namespace, refusal
from tests.wheels import ROOT, build_wheel, clean_environ, make_clone

TEXT = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
CLONE = re.compile(r"\.{1,2}/notification-router")  # where the reader's is, seen from two folders
PORT = "8000"
PATIENCE = 60.0  # seconds


class Block(NamedTuple):
    """A block of code: its kind, and its text."""

    kind: str
    text: str


class Call(NamedTuple):
    """A command line as it is shown, and the lines that are shown beneath it."""

    words: list[str]
    shown: list[str]


BLOCKS = [Block(*found) for found in re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.M | re.S)]


def read_calls(text: str) -> Iterator[Call]:
    """Yield the command lines of a console block."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        line, *shown = part.splitlines()
        yield Call(shlex.split(line), shown)


CALLS = [call for kind, text in BLOCKS if kind == "console" for call in read_calls(text)]


def matches(shown: str, said: str) -> bool:
    """Whether a line is as it is shown: ``…`` stands for anything, and spaces only part words."""
    pattern = r"\s+".join(re.escape(word).replace("…", ".*") for word in shown.split())
    return re.fullmatch(pattern, said.strip()) is not None


def find_missing(shown: Sequence[str], said: Sequence[str]) -> str | None:
    """Return the first line shown that was not said behind the one before it; None: all were."""
    rest = iter(said)
    return next((one for one in shown if not any(matches(one, line) for line in rest)), None)


class Service:
    """The first terminal, in which the service stays; a line is read once."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self._limit = threading.Timer(3 * PATIENCE, process.terminate)
        self._limit.start()

    def expect(self, shown: Sequence[str]) -> None:
        """Read on until each of these lines was said, in their order."""
        seen: list[str] = []
        assert self._process.stdout
        waiting = list(shown)
        while waiting:
            line = self._process.stdout.readline()
            assert line, f"it never said {waiting[0]!r}: {''.join(seen)}"
            seen.append(line)
            if matches(waiting[0], line):
                del waiting[0]

    def stop(self) -> int:
        """Tell it to stop, as Ctrl-C does, and return its exit code."""
        self._process.terminate()
        self._process.communicate(timeout=PATIENCE)
        self._limit.cancel()
        return self._process.returncode


class Reader:
    """Somebody who does what the tutorial says.

    Args:
        folder: Where they begin.
        wheel: What they install, where the text has their clone.
        port: For the service, since the one that is shown may be taken.
    """

    def __init__(self, folder: Path, *, wheel: Path, port: int) -> None:
        self.folder = folder
        self.service: Service | None = None
        self._start = folder
        self._wheel = wheel
        self._port = port
        self._island = Island((), {})
        there = {"ROUTER_PORT": str(port), "ROUTER_URL": f"http://127.0.0.1:{port}"}
        python = {"UV_PYTHON": "{}.{}".format(*sys.version_info)}  # as that of these tests
        self._environ = {**clean_environ(), **there, **python}

    def go_to(self, island: Island) -> None:
        """From now on reach nothing but this machine."""
        self._island = island

    def open(self, words: Sequence[str]) -> subprocess.Popen[str]:
        """Start a command as it is shown, with what it says in one stream."""
        told = [CLONE.sub(str(self._wheel), word) for word in words]
        return subprocess.Popen(
            [*self._island.prefix, *told],
            cwd=self.folder,
            env={**self._environ, **self._island.environ},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def call(self, words: Sequence[str], shown: Sequence[str]) -> None:
        """Carry out a command line: it must succeed and say what is shown.

        What only looks may have to look again: progress is on record within a second.
        """
        if words[0] == "cd":
            self.folder /= words[1]
            return
        shown = [line.replace(f":{PORT}", f":{self._port}") for line in shown]
        if "serve" in words:
            self.service = Service(self.open(words))
            self.service.expect(shown)
            return
        end = time.monotonic() + PATIENCE
        while True:
            process = self.open(words)
            said, _ = process.communicate(timeout=3 * PATIENCE)
            assert process.returncode == 0, (words, said)
            missing = find_missing(shown, said.splitlines())
            if missing is None:
                return
            is_looking = "events" in words and time.monotonic() < end
            assert is_looking, f"{words} never said {missing!r}: {said}"
            time.sleep(0.1)

    def edit(self, text: str) -> None:
        """Put a function in the place of the one of its name, in the file that is named first."""
        line, _, shown = text.partition("\n")
        file = self.folder / line.removeprefix("# ")
        lines = file.read_text("utf-8").splitlines()
        (new,) = find_functions(textwrap.dedent(shown))
        (old,) = [one for one in find_functions("\n".join(lines)) if one.name == new.name]
        first = min([old.lineno, *(one.lineno for one in old.decorator_list)]) - 1
        lines[first : old.end_lineno] = shown.splitlines()
        file.write_text("\n".join(lines) + "\n", "utf-8")

    def listen(self, text: str) -> None:
        """Look at the first terminal."""
        assert self.service
        self.service.expect(text.replace(f":{PORT}", f":{self._port}").splitlines())


def find_functions(source: str) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return all functions and methods in a source."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]


def find_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from what is committed."""
    clone = make_clone(tmp_path_factory.mktemp("clone"))
    return build_wheel(clone, tmp_path_factory.mktemp("wheel"))


@pytest.fixture
def island(tmp_path: Path) -> Iterator[Island]:
    """The network, as it is after the cut."""
    with namespace() as found:
        yield found or refusal(tmp_path / "refusal")


def test_ten_commands_are_enough() -> None:
    """From nothing to a replay, one command a line, and no line with two."""
    assert len(CALLS) <= 10
    assert not [words for words, _ in CALLS if {"&&", "||", ";", "|", "&"} & set(words)]
    assert {kind for kind, _ in BLOCKS} == {"console", "python", "text"}


def test_the_tutorial_does_what_it_says(wheel: Path, island: Island, tmp_path: Path) -> None:
    """Each block in its order: commands succeed and say what is shown, edits work, replays too."""
    start = tmp_path / "start"
    start.mkdir()
    reader = Reader(start, wheel=wheel, port=find_port())
    actions: Mapping[str, Callable[[str], None]] = {"python": reader.edit, "text": reader.listen}
    with ExitStack() as stack:
        for kind, text in BLOCKS:
            if kind != "console":
                actions[kind](text)
                continue
            for words, shown in read_calls(text):
                reader.call(words, shown)
                if words[:2] == ["uv", "add"]:
                    reader.go_to(island)
                if "serve" in words:
                    assert reader.service
                    stack.callback(reader.service.stop)
        stack.pop_all()
    assert reader.service
    assert reader.service.stop() == 0


@pytest.mark.parametrize("kind", ["namespace", "refusal"])
def test_the_network_is_cut(kind: str, tmp_path: Path) -> None:
    """Beyond this machine nothing is reached, on it everything is."""
    with ExitStack() as stack:
        refused = refusal(tmp_path / "refusal")
        island = refused if kind == "refusal" else stack.enter_context(namespace())
        if island is None:
            pytest.skip("this machine allows no namespaces")
        code = """
import socket, sys
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
try:
    socket.create_connection(("192.0.2.1", 80), timeout=1)
except TimeoutError:
    sys.exit("it went out and waited")
except OSError as error:
    print(error)
"""
        ended = subprocess.run(
            [*island.prefix, sys.executable, "-c", code],
            env={**clean_environ(), **island.environ},
            capture_output=True,
            text=True,
            check=False,
        )
    assert ended.returncode == 0, ended.stderr
    assert re.search("unreachable|is cut", ended.stdout), ended.stdout


@pytest.mark.parametrize(
    ("shown", "said", "missing"),
    [
        (["a  b", "… c"], ["x", " a b ", "1 2 c"], None),
        (["a", "b"], ["b", "a"], "b"),
        (["a.c"], ["abc"], "a.c"),
        (["200 OK"], ["1200 OK"], "200 OK"),
    ],
)
def test_what_is_not_said_is_found(shown: list[str], said: list[str], missing: str | None) -> None:
    """Lines are compared whole, in their order, with ``…`` for anything."""
    assert find_missing(shown, said) == missing
