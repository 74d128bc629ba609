"""Tests of the commands that plugins add to `router`."""

from pathlib import Path

import pytest

from tests.cli.conftest import Run

# One engine is enough: nothing of it is in the database.
pytestmark = pytest.mark.engines("sqlite")

PLUGIN = """
import click
from router import hookimpl

@click.command("{command}")
@click.argument("who")
@click.pass_obj
def greet(settings, who):
    "Greet somebody."
    click.echo(f"hello {{who}}, from {{settings.plugins}}")

@hookimpl
def commands():
    return [greet]
"""


@pytest.fixture
def handlers(run: Run, tmp_path: Path) -> Path:
    """The folder of plugins, which the settings name."""
    (tmp_path / "router.toml").write_text('plugins_dir = ["handlers"]\n')
    folder = tmp_path / "handlers"
    folder.mkdir()
    return folder


def write(handlers: Path, name: str, command: str) -> None:
    """Write a plugin with a command."""
    (handlers / f"{name}.py").write_text(PLUGIN.format(command=command))


def test_a_command_of_a_plugin_is_run(run: Run, handlers: Path) -> None:
    """It is one of `router`'s, takes its arguments, and is given the settings."""
    write(handlers, "crm", "greet")

    greeted = run("greet", "Ana")
    assert (greeted.code, greeted.out, greeted.err) == (0, "hello Ana, from {}\n", "")
    assert run("greet").code == 2
    assert "Greet somebody." in run("--help").out
    assert "Usage: router greet [OPTIONS] WHO" in run("greet", "--help").out


def test_a_command_that_nobody_has_is_a_usage_error(run: Run, handlers: Path) -> None:
    """It is as without plugins."""
    write(handlers, "crm", "greet")

    assert (run("greeet").code, "No such command" in run("greeet").err) == (2, True)


def test_the_routers_own_command_is_the_one_that_is_run(run: Run, handlers: Path) -> None:
    """A plugin cannot hide it; the check says that it tries."""
    write(handlers, "crm", "parse")

    assert "as an adapter finds them" in run("parse", "--help").out
    checked = run("plugins", "check")
    assert checked.code == 3
    assert checked.out.startswith("crm: its command 'parse' is never run")
    assert run("plugins", "list", "--json").data[0]["state"] == "ok"


def test_two_plugins_with_one_command_are_told_apart_by_nobody(run: Run, handlers: Path) -> None:
    """None is run, both are named, and both still handle events."""
    write(handlers, "crm", "greet")
    write(handlers, "audit", "greet")

    greeted = run("greet", "Ana")
    assert (greeted.code, greeted.out) == (2, "")
    assert "the plugins 'audit' and 'crm' each have a command 'greet'" in greeted.err
    assert "greet" not in run("--help").out
    checked = run("plugins", "check", "--json")
    assert (checked.code, [one["name"] for one in checked.data]) == (3, ["audit", "crm"])


def test_a_broken_plugin_costs_only_its_commands(run: Run, handlers: Path) -> None:
    """The others, and all of the router's, are there; the broken one is named."""
    write(handlers, "crm", "greet")
    (handlers / "bad.py").write_text("1 +")

    assert run("greet", "Ana").out.startswith("hello Ana")
    told = run("--help")
    assert (told.code, "greet" in told.out, "parse" in told.out) == (0, True, True)
    assert "left out: bad" in told.err


def test_broken_settings_cost_only_the_commands_of_plugins(
    run: Run, handlers: Path, tmp_path: Path
) -> None:
    """The help can be read while `router.toml` cannot."""
    (tmp_path / "router.toml").write_text("plugin_dir = []\n")

    told = run("--help")
    assert (told.code, "parse" in told.out) == (0, True)
    assert "did you mean plugins_dir" in told.err


def test_a_command_of_ours_loads_no_plugin(run: Run, handlers: Path) -> None:
    """What is known without plugins is not looked for in them."""
    (handlers / "loud.py").write_text("open('loaded', 'w')")

    assert run("parse", "--help").code == 0
    assert not Path("loaded").exists()
