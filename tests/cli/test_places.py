"""Tests of which files are looked at for changes."""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from router import config
from router.cli.places import Places, find_places, read_again
from router.config import Config

Find = Callable[..., Places]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a folder of handlers."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ROUTER_PLUGINS_DIR", raising=False)
    (tmp_path / "handlers").mkdir()
    (tmp_path / "router.toml").write_text('plugins_dir = ["handlers", "later/on"]\n')
    return tmp_path


def load(folder: Path, **overrides: object) -> Config:
    """Return the settings of the folder."""
    return config.load(None, environ={}, working=folder, overrides=overrides)


def test_settings_and_handlers_are_watched(folder: Path) -> None:
    """Code counts, and nothing else does, least of all the database."""
    places = find_places(load(folder), entry_points=())

    held: Mapping[str, bool] = {
        "router.toml": True,
        "handlers/crm.py": True,
        "later/on": True,
        "handlers/crm.txt": False,
        "handlers/.#crm.py": False,
        "handlers/inner/crm.py": False,
        "router.db": False,
        "other.py": False,
    }
    assert {name: places.holds(folder / name) for name in held} == held
    assert places.watched == [folder, folder / "handlers"]


def test_a_folder_that_is_not_there_is_waited_for(folder: Path) -> None:
    """So are those above it; what is made in any other folder says nothing."""
    places = find_places(load(folder), entry_points=())

    (folder / "handlers" / "__pycache__").mkdir()
    (folder / "cache").mkdir()
    assert places.holds(folder / "later")
    assert not places.holds(folder / "cache")
    assert not places.holds(folder / "handlers" / "__pycache__")


def test_without_settings_they_are_waited_for(folder: Path) -> None:
    """A `router.toml` that is written later counts."""
    (folder / "router.toml").unlink()

    assert find_places(load(folder), entry_points=()).holds(folder / "router.toml")


def test_packages_are_watched_with_all_that_is_in_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of their code runs for it; one that is turned off or not to be found costs nothing."""
    for name in ("scaffold_package", "scaffold_off"):
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "__init__.py").write_text("raise RuntimeError")
    (folder / "flat").mkdir()
    (folder / "flat" / "scaffold_module.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.syspath_prepend(folder / "flat")
    (folder / "router.toml").write_text("[plugins.off]\nenabled = false\n")
    entries = [
        EntryPoint("package", "scaffold_package.inner", "router"),
        EntryPoint("module", "scaffold_module", "router"),
        EntryPoint("off", "scaffold_off", "router"),
        EntryPoint("gone", "scaffold_gone", "router"),
    ]

    places = find_places(load(folder), entry_points=entries)

    package = folder / "scaffold_package"
    assert places.folders == {package, package / "inner", folder / "flat"}
    assert places.holds(package / "inner")  # a folder that is new within it
    assert places.holds(package / "inner" / "a.py")


def test_what_comes_with_the_router_is_not_watched(folder: Path) -> None:
    """Its plugins change with its version."""
    places = find_places(load(folder))

    assert not any("site-packages" in str(one) or "whatsapp" in str(one) for one in places.folders)


def test_settings_are_read_again(folder: Path) -> None:
    """As they are by now, but for flags, which stay; and as they were, where they are broken."""
    found = load(folder)
    flagged = load(folder, plugins_dir=["given"])
    (folder / "router.toml").write_text('plugins_dir = ["others"]\n')

    assert read_again(found).plugins_dir == (folder / "others",)
    assert read_again(flagged).plugins_dir == (folder / "given",)
    (folder / "router.toml").write_text("plugins_dir = [\n")
    assert read_again(found) is found
