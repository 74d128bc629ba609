"""Tests of `router plugins new`: what it writes can be installed, is tested, and is loaded."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from router.cli.plugins_new import FILES, find_fault
from tests.cli.conftest import Run
from tests.commands import require_command
from tests.typed import CACHE, if_typed

# One engine is enough: nothing of it is in the database.
pytestmark = pytest.mark.engines("sqlite")

ROOT = Path(__file__).parents[2]
FOREIGN = ("PYTHON", "ROUTER_", "VIRTUAL_ENV", "PYTEST_", "COV_")

Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of a new plugin."""
    folder = tmp_path_factory.mktemp("written")
    words = [sys.executable, "-m", "router.cli", "plugins", "new", "crm-sync"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, env=environ_of(PATH=""))
    return folder / "crm-sync"


@pytest.fixture(scope="module")
def call(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Call:
    """Calls programs of an environment that the plugin is installed in, without the network.

    All else in the environment is what these tests run with.
    """
    uv = os.environ.get("UV") or shutil.which("uv") or pytest.fail("uv is not installed")
    environment = tmp_path_factory.mktemp("environment") / "venv"
    python = environment / "bin" / "python"
    environ = environ_of(PATH=os.environ["PATH"], UV_OFFLINE="1", HOME=os.environ["HOME"])

    def call(*words: str | Path, program: str | Path = python) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(program), *map(str, words)],
            cwd=written,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    def prepare(*words: str | Path) -> None:
        done = call(*words, program=uv)
        assert done.returncode == 0, done.stderr

    prepare("venv", "--quiet", "--python", sys.executable, environment)
    packages = Path(
        call("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout[:-1]
    )
    ours = sysconfig.get_path("purelib")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n{ROOT}\n")
    prepare("pip", "install", "--quiet", "--no-deps", "--python", python, "--editable", written)
    return call


def environ_of(**changes: str) -> Mapping[str, str]:
    """Return the environment without what is about this test run."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(FOREIGN)}
    return kept | changes


def test_everything_is_filled_in(written: Path) -> None:
    """All files are there, none has a gap, and each is of its kind."""
    files = {
        str(path.relative_to(written)): path.read_text("utf-8") for path in written.rglob("*.*")
    }

    assert len(files) == len(FILES)
    assert not [name for name, text in files.items() if "{{" in name + text]
    project = tomllib.loads(files["pyproject.toml"])
    assert project["project"]["entry-points"]["router"] == {"crm-sync": "crm_sync:plugin"}
    assert tomllib.loads(files["router.toml"])["plugins"] == {"crm-sync": {"greeting": "Hello"}}
    assert json.loads(files["notification.json"])


@pytest.mark.slow
def test_its_own_tests_pass(call: Call) -> None:
    """As they are written, in the environment that it is installed in."""
    done = call("-m", "pytest", "-q", "-W", "error")

    assert (done.returncode, "2 passed" in done.stdout) == (0, True), done.stdout + done.stderr


@pytest.mark.slow
def test_its_tests_can_fail(call: Call, written: Path) -> None:
    """A handler that does nothing is found out."""
    module = written / "crm_sync" / "__init__.py"
    text = module.read_text("utf-8")
    try:
        module.write_text(
            text.replace('        print(f"{self._settings', '        str(f"{self._settings')
        )
        done = call("-m", "pytest", "-q", "-p", "no:cacheprovider")
    finally:
        module.write_text(text)

    assert (done.returncode, "1 failed, 1 passed" in done.stdout) == (1, True), done.stdout


def test_a_test_of_it_has_ten_lines(written: Path) -> None:
    """With the router's fixture a test is short: what comes in, and what comes of it."""
    tree = ast.parse((written / "tests" / "test_crm_sync.py").read_text("utf-8"))
    tests = [node for node in tree.body if isinstance(node, ast.AsyncFunctionDef)]

    assert len(tests) == 2
    for test in tests:
        assert "harness" in [argument.arg for argument in test.args.args]
        assert (test.end_lineno or 0) - test.lineno < 10


def test_the_router_finds_it(call: Call) -> None:
    """It is loaded from its entry point, with its settings, and nothing is wrong with it."""
    checked = call("-m", "router.cli", "plugins", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    listed = call("-m", "router.cli", "plugins", "list", "--json")
    (plugin,) = [one for one in json.loads(listed.stdout)["data"] if one["name"] == "crm-sync"]
    assert (plugin["state"], plugin["version"]) == ("ok", "0.1.0")
    assert plugin["types"] == ["message", "error"]


def test_wrong_settings_of_it_are_told(call: Call, written: Path) -> None:
    """The settings are typed: the file, the key and the type are named."""
    file = written / "router.toml"
    text = file.read_text("utf-8")
    try:
        file.write_text(text.replace('"Hello"', "5"))
        checked = call("-m", "router.cli", "plugins", "check")
    finally:
        file.write_text(text)

    assert checked.returncode == 3
    assert "router.toml: [plugins.crm-sync].greeting must be str" in checked.stdout


@pytest.mark.slow
@if_typed
def test_the_type_checker_is_content(call: Call) -> None:
    """The plugin passes strict checks."""
    done = call("-m", "mypy", "--strict", "--cache-dir", CACHE, "crm_sync", "tests")
    assert done.returncode == 0, done.stdout


def test_its_readme_names_commands_that_exist(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each line with `router` is one that the command line takes."""
    monkeypatch.chdir(written)
    text = (written / "README.md").read_text("utf-8")
    lines = [
        line.partition("#")[0].split() for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE)
    ]

    commands = [words for words in lines if words[0] == "router"]
    assert len(commands) == 6
    for words in commands:
        require_command(words)


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    """What is there stays as it is, and the command fails."""
    first = run("plugins", "new", "crm", "--dir", "made/here")
    assert (first.code, first.out) == (0, "made/here/crm\n")
    readme = tmp_path / "made" / "here" / "crm" / "README.md"
    readme.write_text("mine")

    second = run("plugins", "new", "crm", "--dir", "made/here")
    assert (second.code, second.out) == (1, "")
    assert "made/here/crm is there already" in second.err
    assert readme.read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Crm", "small letters"),
        ("crm_sync", "single dashes"),
        ("1crm", "the first one a letter"),
        ("crm--sync", "single dashes"),
        ("", "1 to 50"),
        ("a" * 51, "1 to 50"),
        ("../crm", "small letters"),
        ("class", "a word of Python's"),
        ("match", "a word of Python's"),
        ("json", "its package, json, would hide another one"),
        ("router", "its package, router, would hide another one"),
        ("timeline", "a plugin of that name is installed"),
        ("sqlalchemy", "its package, sqlalchemy, would hide one that is installed"),
    ],
)
def test_names_that_would_make_trouble_are_refused(
    run: Run, tmp_path: Path, name: str, reason: str
) -> None:
    """The reason is told, and nothing is written."""
    result = run("plugins", "new", "--", name)

    assert (result.code, reason in result.err) == (2, True)
    assert list(tmp_path.glob("*")) == [tmp_path / "router.db"]


@pytest.mark.parametrize("name", ["crm", "crm-sync", "a1-b2-c3", "a" * 50])
def test_plain_names_are_taken(name: str) -> None:
    """Letters, digits and single dashes."""
    assert find_fault(name) == ""


def test_a_place_that_cannot_be_written_to_is_told(run: Run, tmp_path: Path) -> None:
    """The error names it."""
    (tmp_path / "file").touch()

    result = run("plugins", "new", "crm", "--dir", "file/x")
    assert (result.code, "cannot be written" in result.err) == (1, True)
