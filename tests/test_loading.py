"""Tests of `router.loading`: plugins are found wherever they are, and loaded without surprises."""

import sys
import types
from importlib import metadata
from pathlib import Path

import pytest

from router.errors import PluginError
from router.loading import find_entry_points, find_files, find_objects, import_file, load


def install(folder: Path, distribution: str, entry: str) -> None:
    """Write what an installer writes down about a distribution with one entry point."""
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {distribution}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[router]\n{entry}\n")


def installed(folder: Path) -> list[metadata.EntryPoint]:
    """Return the entry points of what is installed in ``folder``."""
    return [
        entry for one in metadata.distributions(path=[str(folder)]) for entry in one.entry_points
    ]


def test_an_entry_point_is_named_with_its_distribution(tmp_path: Path) -> None:
    """A plugin that is installed bears the entry point's name and says what brought it."""
    install(tmp_path, "acme-crm", "crm = acme_crm.plugin")
    [found] = find_entry_points(installed(tmp_path))
    assert (found.name, found.distribution, found.version) == ("crm", "acme-crm", "1.2")
    assert found.origin == "entry point crm = acme_crm.plugin of acme-crm 1.2"


def test_what_comes_with_the_router_comes_first(tmp_path: Path) -> None:
    """First-party plugins are known by their distribution and stand before all others."""
    install(tmp_path, "acme-crm", "crm = acme_crm.plugin")
    install(tmp_path, "Notification_Router", "whatsapp = router.plugins.whatsapp")
    found = find_entry_points(installed(tmp_path))
    assert [(one.name, one.is_first_party) for one in found] == [("whatsapp", True), ("crm", False)]


def test_each_file_is_a_plugin_named_by_its_stem(tmp_path: Path) -> None:
    """Files that start with an underscore or a dot, and folders, are none."""
    for name in ("hello.py", "_shared.py", ".#hello.py", "notes.txt"):
        (tmp_path / name).touch()
    (tmp_path / "folder.py").mkdir()
    found, missing = find_files([tmp_path, tmp_path / "."])
    assert [(one.name, one.origin) for one in found] == [("hello", f"file {tmp_path}/hello.py")]
    assert missing == []


def test_a_directory_that_does_not_exist_is_told(tmp_path: Path) -> None:
    """A missing directory is no reason to leave out the others; it is reported as broken."""
    (tmp_path / "hello.py").touch()
    found, [missing] = find_files([tmp_path / "handlers", tmp_path])
    assert [one.name for one in found] == ["hello"]
    assert missing.name == str(tmp_path / "handlers")
    assert missing.reason.startswith("there is no such directory: create it, or mend plugins_dir")


def test_objects_are_named_by_themselves() -> None:
    """The attribute `plugin_name` counts, else a module's last part, else the class's name."""

    class Audit: ...

    class Named:
        plugin_name = "crm"

    found = find_objects([types.ModuleType("acme.billing"), Audit(), Named()])
    assert [one.name for one in found] == ["billing", "audit", "crm"]
    assert found[0].origin == "code acme.billing"


def test_a_file_hides_no_installed_module(tmp_path: Path) -> None:
    """A plugin may be called like a module that is installed: both stay what they are."""
    path = tmp_path / "json.py"
    path.write_text("import json\nfound = json.dumps([1])\n")
    module = import_file(path)
    assert module.found == "[1]"
    assert sys.modules["json"] is not module


def test_a_file_may_define_records(tmp_path: Path) -> None:
    """The module can be found by its name, as dataclasses with postponed annotations need."""
    path = tmp_path / "hello.py"
    path.write_text(
        "from __future__ import annotations\n"
        "import dataclasses, typing\n"
        "@dataclasses.dataclass\n"
        "class Settings:\n"
        "    url: typing.ClassVar[str] = ''\n"
        "    port: int = 1\n"
    )
    module = import_file(path)
    assert sys.modules[module.__name__] is module
    assert module.Settings().port == 1


def test_a_file_is_read_anew_each_time(tmp_path: Path) -> None:
    """Two routers share no variables, and a quick correction is never missed."""
    path = tmp_path / "hello.py"
    path.write_text("x = 1\n")
    first = import_file(path)
    path.write_text("x = 2\n")
    assert (first.x, import_file(path).x, first.x) == (1, 2, 1)
    assert list(tmp_path.iterdir()) == [path]


def load_text(text: str, folder: Path) -> str:
    """Return why a file with this text cannot be loaded."""
    path = folder / "hello.py"
    path.write_text(text)
    [found], _ = find_files([folder])
    before = set(sys.modules)
    with pytest.raises(PluginError) as caught:
        load(found)
    assert not [name for name in set(sys.modules) - before if name.startswith("_router")]
    assert caught.value.plugin == "hello"
    return caught.value.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\nimport nowhere", "ModuleNotFoundError: No module named 'nowhere' ({path}:2)"),
        ("from router import nothing", "'router' ("),
        ("def f():\n    1 / 0\nf()", "ZeroDivisionError: division by zero ({path}:2)"),
        ("x = (", "SyntaxError: '(' was never closed ({path}:1)"),
        ("raise SystemExit(2)", "SystemExit: 2 ({path}:1)"),
        ("raise ValueError", "ValueError ({path}:1)"),
    ],
)
def test_a_failing_import_says_what_and_where(tmp_path: Path, text: str, expected: str) -> None:
    """The reason holds the error and its line, the way out, and leaves no half-made module."""
    reason = load_text(text, tmp_path)
    assert reason.startswith("it cannot be imported, ")
    assert expected.format(path=tmp_path / "hello.py") in reason
    assert reason.endswith("or leave it out with `enabled = false` in [plugins.hello]")


def test_an_entry_point_to_nowhere_is_told(tmp_path: Path) -> None:
    """A distribution that names a module it does not bring is a failing import."""
    install(tmp_path, "acme-crm", "crm = nowhere.plugin")
    [found] = find_entry_points(installed(tmp_path))
    with pytest.raises(
        PluginError, match="ModuleNotFoundError: No module named 'nowhere': mend it"
    ):
        load(found)


def test_a_class_is_no_plugin() -> None:
    """Handing over a class instead of an object is told with the fix."""

    class Audit: ...

    with pytest.raises(PluginError, match=r"Audit is a class: give an object made from it, Audit"):
        load(find_objects([Audit])[0])
