"""The project that the demo works in: complete, closed to others, and never over something else."""

import stat
from importlib import metadata
from pathlib import Path

import pytest
from sqlalchemy import make_url

from router import config
from router.assembly import make_sources
from router.config import Config
from router.demo.project import HANDLERS, LATECOMER, add_handler, write_project
from router.errors import RouterError
from router.host import Host


def load(settings: Path) -> Config:
    """The settings of a project."""
    return config.load(settings, environ={}, working=settings.parent, overrides={})


@pytest.mark.parametrize(
    "name", ["plain", "with a space", 'with "quotes"', "with {braces}", "ümläut"]
)
def test_the_project_is_complete(tmp_path: Path, name: str) -> None:
    """Settings, plugins and secrets are all there, wherever the folder is."""
    found = load(write_project(tmp_path / name))
    host = Host.load(directories=found.plugins_dir, configured=found.plugins)
    host.require_sound()

    assert {one.name for one in host.subscribers()} == set(HANDLERS)
    assert [one.name for one in make_sources(found, host)] == ["counter", "online"]
    assert make_url(found.database).database == str(tmp_path / name / "router.db")


def test_every_project_has_secrets_of_its_own(tmp_path: Path) -> None:
    """Secrets are made anew, and their folder is closed to other users."""
    for name in ("one", "two"):
        write_project(tmp_path / name)
    secrets = [file.read_text() for file in sorted(tmp_path.glob("*/secrets/*"))]

    assert len(set(secrets)) == len(secrets) == 6
    assert stat.S_IMODE((tmp_path / "one" / "secrets").stat().st_mode) == 0o700


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """The demo writes into no folder that holds anything."""
    (tmp_path / "mine.txt").write_text("mine")

    with pytest.raises(RouterError, match="is not empty"):
        write_project(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_a_late_plugin_is_added(tmp_path: Path) -> None:
    """The plugin that is added handles what all others do, and allows replays."""
    found = load(write_project(tmp_path))
    code = add_handler(tmp_path, LATECOMER)
    host = Host.load(directories=found.plugins_dir)
    plugin = next(one for one in host.plugins if one.name == LATECOMER)

    assert (tmp_path / "handlers" / "history.py").read_text() == code
    assert len(plugin.handlers) == 6
    assert {handler.replay for handler in plugin.handlers.values()} == {"allow"}


def test_other_peoples_plugins_have_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plugin that happens to be installed is turned off: it may have effects outside."""
    others = tmp_path / "others"
    about = others / "mailer-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: mailer\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[router]\nmailer = mailer_plugin\n")
    monkeypatch.syspath_prepend(str(others))
    assert "mailer" in {entry.name for entry in metadata.entry_points(group="router")}

    found = load(write_project(tmp_path / "project"))
    host = Host.load(directories=found.plugins_dir, configured=found.plugins)

    host.require_sound()  # importing it would fail
    assert host.disabled == ["mailer"]
