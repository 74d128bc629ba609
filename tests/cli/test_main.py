"""Tests of `router.cli`: how the command starts, explains itself and ends."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import click
import pytest

from router.cli import router
from tests.cli.conftest import Run, command

# One engine is enough: what is tested is the command; test_postgresql.py has some of each kind.
pytestmark = pytest.mark.engines("sqlite")

GROUPS = ["config", "db", "dead", "events", "plugins", "replay", "subscriptions", "workers"]


def commands(group: click.Group = router) -> Iterator[click.Command]:
    """Yield every command below ``group``, groups included."""
    for one in group.commands.values():
        yield one
        if isinstance(one, click.Group):
            yield from commands(one)


def test_the_version_is_told(run: Run) -> None:
    """It is that of the distribution."""
    result = run("--version")

    assert result.code == 0
    assert result.out == f"router, version {metadata.version('notification-router')}\n"


def test_a_command_loads_what_it_needs(environ: dict[str, str]) -> None:
    """A start does not wait for what serves, calls out, draws tables or upgrades a database."""
    code = "import sys; from router.cli import main; sys.argv[1:] = {words}\ntry: main()\n"
    code += "finally: print(*{{'alembic', 'rich.console', 'starlette', 'uvicorn', 'httpx2'}}"
    code += " & {{*sys.modules}})"

    def loaded(*words: str) -> list[str]:
        script = [sys.executable, "-c", code.format(words=[*words])]
        done = subprocess.run(script, env=environ, capture_output=True, text=True, check=True)
        return sorted(done.stdout.splitlines()[-1].split())

    assert loaded("events", "list", "--json") == []
    assert loaded("--version") == []
    assert "alembic" in loaded("db", "upgrade")
    assert "uvicorn" in loaded("demo", "--help")


def test_help_lists_the_commands(run: Run) -> None:
    """Help is data: it goes to stdout and exits 0."""
    result = run("--help")

    assert (result.code, result.err) == (0, "")
    assert {*GROUPS, "parse", "send", "serve", "worker"} <= set(result.out.split())


@pytest.mark.parametrize("one", list(commands()), ids=lambda one: one.name)
def test_every_command_says_what_it_does_in_a_line(one: click.Command) -> None:
    """No line of a list of commands is cut."""
    assert one.get_short_help_str(limit=80).rstrip()
    assert not one.get_short_help_str(limit=80).endswith("...")


@pytest.mark.parametrize("group", GROUPS)
def test_a_noun_alone_shows_its_verbs(run: Run, group: str) -> None:
    """It is a usage error, with help on stderr."""
    result = run(group)

    assert (result.code, result.out) == (2, "")
    assert f"Usage: router {group}" in result.err
    assert "Commands:" in result.err


@pytest.mark.parametrize("words", [["evnts"], ["events", "lst"], ["events", "list", "--jsn"]])
def test_a_wrong_word_is_a_usage_error(run: Run, words: list[str]) -> None:
    """It exits 2 and names the word."""
    result = run(*words)

    assert (result.code, result.out) == (2, "")
    assert words[-1] in result.err


def test_what_is_no_database_is_explained(run: Run, tmp_path: Path) -> None:
    """A file that SQLite cannot read is a failure, not a traceback."""
    (tmp_path / "text.db").write_text("This is no database. " * 100)

    for words in (["events", "list"], ["db", "current"], ["db", "upgrade"]):
        result = run(*words, "--database", "sqlite:///text.db")
        assert (result.code, result.out) == (1, "")
        assert "file is not a database" in result.err


def test_it_runs_as_a_module(environ: dict[str, str]) -> None:
    """A process of its own ends with the code that the command means."""
    codes = [
        subprocess.run(command(words), env=environ, capture_output=True, check=False).returncode
        for words in (["events", "show", "7"], ["events"])
    ]

    assert codes == [1, 2]
