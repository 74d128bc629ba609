"""Each command in README.md and docs/ is run by a test, or marked as not run.

A block of commands (```console with `$ `, or ```sh) is one of three:

- it is **run here**, line by line, in a fresh folder with a log on SQLite, its settings and its
  plugins (`tests.stages`). It may hold nothing but `router …`. What would ask is told yes, and what
  lasts (`serve`, `worker`) is ended as soon as it is at work;
- the line above it says **who runs it**: `<!-- run by tests/test_tutorial.py -->`. That file must
  name the page, or its folder where it is the README of one;
- the line above it says **why nobody does**: `<!-- not run: it needs a Coreapp -->`.

Such a line that stands elsewhere on a page is about all blocks of the page that have none. Whatever
it is, each `router …` in a block must be a command line that the real command takes, and each one
within the text a command and options that there are.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from router.cli import main
from router.cli import router as root
from tests.cli.conftest import command
from tests.commands import require_command
from tests.shown import PAGES, ROOT, Block, find_router, read_blocks
from tests.stages import SECRETS, make_stage

BLOCKS = [block for page in PAGES for block in read_blocks(page)]
PLAYED = [block for block in BLOCKS if not block.mark]
SPAN = re.compile(r"`router ([^`\n]+)`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LASTING = ("serve", "worker")
AT_WORK = re.compile("receiving at|delivering")
# What is shown, and what is there for it: nothing is to leave this machine, or this folder.
THERE: Mapping[str, str] = {
    "0.0.0.0": "127.0.0.1",  # noqa: S104 - the very thing that is taken out
    "10.0.0.5": "127.0.0.1",
    "/etc/router/": "",
}
OF_PLUGINS = ("crm-report",)  # commands that a plugin on a page adds
LIMIT = 120  # seconds after which something has come to a stand: far more than it needs


@pytest.fixture(scope="module")
def made_stage(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """What is copied for each block; see `stage`."""
    folder = tmp_path_factory.mktemp("stage")
    make_stage(folder, empty=empty_database)
    return folder


@pytest.fixture
def stage(made_stage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh folder with the settings, the plugins and the log; it is where commands run."""
    folder = tmp_path / "stage"
    shutil.copytree(made_stage, folder)
    for name in [name for name in os.environ if name.startswith("ROUTER_")]:
        monkeypatch.delenv(name)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("ROUTER_PORT", "0")
    monkeypatch.chdir(folder)
    return folder


def test_there_are_blocks_of_all_three_kinds() -> None:
    """Whoever breaks the reading of pages does not pass by that."""
    assert len(PLAYED) > 20
    assert any(block.mark.startswith("run by") for block in BLOCKS)
    assert any(block.mark.startswith("not run") for block in BLOCKS)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_each_block_is_run_or_marked(block: Block) -> None:
    """A mark is one of the two, the test that it names runs that page, and all else is run here."""
    if block.mark.startswith("not run: "):
        return
    if block.mark:
        found = re.fullmatch(r"run by (tests/\S+\.py)", block.mark)
        assert found, (
            f"{block.name}: `{block.mark}` is neither `run by tests/FILE.py` nor `not run: WHY`"
        )
        test = (ROOT / found[1]).read_text("utf-8")
        page = Path(block.page)
        name = (
            f'"{page.parent.name}"' if page.name == "README.md" and page.parent.name else page.name
        )
        assert name in test, f"{found[1]} does not name {block.page}"
        return
    others = [line for line in block.commands if find_router(line) is None or "$(" in line]
    assert others == [], (
        f"{block.name}: nobody runs {others}; put `<!-- run by tests/FILE.py -->` or "
        "`<!-- not run: WHY -->` above the block"
    )


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.name)
def test_commands_are_ones_that_there_are(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run or not, a command line is one that the real command takes."""
    monkeypatch.chdir(tmp_path)  # for the files that they open to write, and to read
    (tmp_path / "notification.json").touch()
    for line in block.commands:
        if words := find_router(line):
            require_command(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_within_the_text_are_ones_that_there_are(page: Path) -> None:
    """`router db upgrade --database URL` in a sentence is a command with such an option."""
    for words in SPAN.findall(FENCED.sub("", page.read_text("utf-8"))):
        find_command(words.split())


def find_command(words: list[str]) -> None:
    """Fail unless there is such a command, as far as it is named, and has these options."""
    found: click.Command = root
    rest = list(words)
    if words[0] in OF_PLUGINS:
        return
    while isinstance(found, click.Group) and rest and re.fullmatch(r"[a-z]+[a-z|-]*", rest[0]):
        name = rest.pop(0)
        for one in name.split("|"):
            assert one in found.commands, f"there is no `{one}` in `router {' '.join(words)}`"
        found = found.commands[name.split("|")[0]]
    known = {option for param in found.params for option in (*param.opts, *param.secondary_opts)}
    known |= {"--help", "--version"}
    shown = {re.split(r"[=\[|]", word)[0].rstrip(",.;)…") for word in rest if word.startswith("--")}
    assert shown <= known, f"there is no {shown - known} in `router {' '.join(words)}`"


@pytest.mark.parametrize("block", PLAYED, ids=lambda block: block.name)
def test_blocks_are_run(block: Block, stage: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Each of its commands succeeds, or finds a problem that it is there to find."""
    for line in block.commands:
        words = find_router(line)
        assert words
        for shown, there in THERE.items():
            words = [word for one in words if (word := one.replace(shown, there))]
        words = without_ports(words)
        if words[1] in LASTING:
            watch(words)
            continue
        with limited(), pytest.raises(SystemExit) as ended:
            main([*words[1:], *agree(words)])
        said = capfd.readouterr()
        assert ended.value.code in (0, 3), f"{block.name}: {line}\n{said.out}{said.err}"


@contextmanager
def limited() -> Iterator[None]:
    """End what waits for something that never comes."""
    signal.signal(signal.SIGALRM, refuse_to_wait)
    signal.alarm(LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)


def refuse_to_wait(_number: int, _frame: object) -> None:
    """Fail."""
    pytest.fail(f"it takes longer than {LIMIT} s")


def without_ports(words: list[str]) -> list[str]:
    """Return the words without `--port 8000`, which may be taken, and with metrics anywhere."""
    line = " ".join(words)
    if "--port" not in words and "--metrics" not in words:
        return words
    line = re.sub(r" --port \d+", "", line)
    return re.sub(r"--metrics (\S+:)?\d+", r"--metrics \g<1>0", line).split()


def agree(words: list[str]) -> Iterator[str]:
    """Yield what says yes to a command that would ask."""
    found: click.Command = root
    for word in words[1:]:
        if not isinstance(found, click.Group) or word.startswith("-"):
            break
        found = found.commands[word]
    can_ask = any("--yes" in param.opts for param in found.params)
    if can_ask and not {"--yes", "--dry-run"} & set(words):
        yield "--yes"


def watch(words: list[str]) -> None:
    """Start what lasts, wait until it is at work, and stop it; it ends well."""
    with subprocess.Popen(
        command(words[1:]), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        limit = threading.Timer(LIMIT, process.kill)
        limit.start()
        assert process.stdout
        said = ""
        for line in process.stdout:
            said += line
            if AT_WORK.search(line):
                break
        process.terminate()
        said += process.stdout.read()
        limit.cancel()
        assert process.wait(LIMIT) == 0, said
        assert AT_WORK.search(said), said
