"""The Containerfile without an engine: what it copies, installs and starts, in a fresh folder.

Its commands are run as they stand, but that what is at the root of the image is in that folder.
What is not run is named: the base image, and the user of the image.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.wheels import ROOT, clean_environ, make_clone

FILE = ROOT / "docs" / "examples" / "Containerfile"
KNOWN = {
    *("FROM", "COPY", "RUN", "ENV", "WORKDIR", "USER", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK"),
    "CMD",
}
PLACES = re.compile(r"(?<![\w.])/(?=src|opt/|etc/)")  # what the image has at its root

pytestmark = pytest.mark.slow


class Instruction(NamedTuple):
    """One instruction of a Containerfile.

    Attributes:
        name: Such as ``RUN``.
        rest: What follows it.
    """

    name: str
    rest: str


def read_instructions() -> Iterator[Instruction]:
    """Yield the instructions in their order."""
    text = FILE.read_text("utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            name, _, rest = line.partition(" ")
            yield Instruction(name, rest.strip())


class Image:
    """A folder that is filled as an image would be.

    Args:
        folder: Its root.
        context: What `COPY` copies from.
    """

    def __init__(self, folder: Path, context: Path) -> None:
        self.folder = folder
        self.left: list[str] = []
        self.command: list[str] = []
        self.probe: list[str] = []
        self.stop = ""
        self._context = context
        self._working = folder
        self.environ = {
            **clean_environ(),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }

    def place(self, text: str) -> str:
        """Return ``text`` with the root of the image where it is."""
        return PLACES.sub(f"{self.folder}/", text)

    def follow(self, one: Instruction) -> None:
        """Do what an instruction says."""
        if one.name == "COPY" and not one.rest.startswith("--from"):
            source, target = one.rest.split()
            self._copy(self._context / source, Path(self.place(target)))
        elif one.name == "RUN" and "useradd" in one.rest:
            self.left.append(one.rest)
        elif one.name == "RUN":
            self.run(["sh", "-ec", self.place(one.rest)])
        elif one.name == "ENV":
            for pair in shlex.split(one.rest):
                name, value = pair.split("=", 1)
                self.environ[name] = self.place(value).replace("$PATH", self.environ["PATH"])
        elif one.name == "WORKDIR":
            self._working = Path(self.place(one.rest))
        elif one.name == "HEALTHCHECK":
            self.probe = json.loads(one.rest.partition("CMD")[2])
        elif one.name == "STOPSIGNAL":
            self.stop = one.rest
        elif one.name == "CMD":
            self.command = json.loads(one.rest)

    def run(self, words: list[str]) -> None:
        """Run a command in the image to its end; it must succeed."""
        done = subprocess.run(
            words, cwd=self._working, env=self.environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self) -> subprocess.Popen[str]:
        """Start the command of the image, at a port that is free."""
        words = [word.replace("0.0.0.0", "127.0.0.1") for word in self.command]  # noqa: S104
        words[words.index("--port") + 1] = "0"
        return subprocess.Popen(
            words, cwd=self._working, env=self.environ, stderr=subprocess.PIPE, text=True
        )

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns(".git"))
        else:
            shutil.copy(source, target)


def test_every_instruction_is_one_that_is_followed() -> None:
    """There are two stages, and nothing in them that the test below passes over unseen."""
    found = list(read_instructions())

    assert {one.name for one in found} <= KNOWN
    assert [one.name for one in found].count("FROM") == 2


def test_what_the_image_does_works(tmp_path: Path) -> None:
    """It installs from a clean clone; its command serves, is probed, and ends by its signal."""
    context = make_clone(tmp_path)
    image = Image(tmp_path / "image", context)
    image.folder.mkdir()
    for one in read_instructions():
        image.follow(one)
    assert len(image.left) == 1  # of the image alone: its user
    database = f"sqlite:///{tmp_path / 'router.db'}"
    image.environ |= {"ROUTER_DATABASE": database, "WA_SECRET": "a", "WA_TOKEN": "b"}
    image.run(["router", "db", "upgrade"])
    image.run([str(image.folder / "opt/router/bin/python"), "-c", "import psycopg"])

    with image.start() as process:
        assert process.stderr
        told = (re.search(r"receiving at http://127.0.0.1:(\d+)/", line) for line in process.stderr)
        port = next(found[1] for found in told if found)
        image.run([word.replace(":8000/", f":{port}/") for word in image.probe])
        process.send_signal(signal.Signals[image.stop])
        said = process.stderr.read()
        assert process.wait(60) == 0, said
