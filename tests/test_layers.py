"""Layers: what the command line, the environment and a file say, and how each is called."""

import os
from pathlib import Path

import pytest

from router.errors import ConfigError
from router.layers import Layer, check_keys, from_defaults, from_environ, from_file, from_flags

KNOWN = ("database", "plugins_dir")
WORKING = Path("/srv/router")


def read_text(value: object, folder: Path) -> str:
    """Read a text, and show the folder that it counts from."""
    if not isinstance(value, str):
        raise ValueError("a text")
    return f"{folder.name}/{value}"


def test_reads_a_value_with_its_folder() -> None:
    """A reader is given the value and the folder that paths in it count from."""
    layer = from_defaults({"database": "log"}, working=WORKING)
    assert layer.read("database", read_text) == "router/log"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (from_flags({"plugins_dir": 3}, known=KNOWN, working=WORKING), "--plugins-dir"),
        (from_defaults({"plugins_dir": 3}, working=WORKING), "default"),
        (
            Layer({"plugins_dir": 3}, WORKING, lambda _: "/srv/router/router.toml"),
            "/srv/router/router.toml",
        ),
    ],
)
def test_names_the_place_of_a_wrong_value(layer: Layer, message: str) -> None:
    """A value that a reader refuses is reported with its place, its key and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        layer.read("plugins_dir", read_text)
    assert str(caught.value) == f"{message}: plugins_dir must be a text"


def test_flags_that_were_not_given_say_nothing() -> None:
    """None and an empty sequence leave the setting to the next place."""
    given = {"database": None, "plugins_dir": ()}
    assert from_flags(given, known=KNOWN, working=WORKING).values == {}


def test_refuses_flags_of_no_setting() -> None:
    """A flag that belongs to no setting is a mistake of the command that passes it."""
    with pytest.raises(ConfigError, match="flag databse is unknown: did you mean database"):
        from_flags({"databse": "x"}, known=KNOWN, working=WORKING)


def test_reads_variables() -> None:
    """Variables are called after their settings; lists are separated as in `PATH`."""
    environ = {
        "ROUTER_DATABASE": "sqlite:///x.db",
        "ROUTER_PLUGINS_DIR": os.pathsep.join(["a", "b"]),
        "ROUTER_PORT": "80",
        "DATABASE": "other",
    }
    layer = from_environ(environ, known=KNOWN, lists=["plugins_dir"], working=WORKING)
    assert layer.values == {"database": "sqlite:///x.db", "plugins_dir": ["a", "b"]}
    assert layer.name("plugins_dir") == "ROUTER_PLUGINS_DIR"


def test_empty_variables_say_nothing() -> None:
    """An empty variable counts as not set, for some tools cannot unset one."""
    environ = {"ROUTER_DATABASE": "", "ROUTER_PLUGINS_DIR": ""}
    layer = from_environ(environ, known=KNOWN, lists=["plugins_dir"], working=WORKING)
    assert layer.values == {}


def test_reads_a_file(tmp_path: Path) -> None:
    """A file's values count from its folder; a byte order mark is not part of them."""
    file = tmp_path / "some.toml"
    file.write_bytes(b"\xef\xbb\xbfdatabase = 'x'\r\n[sources.wa]\r\nadapter = 'whatsapp'\r\n")
    layer = from_file(file)
    assert layer.values == {"database": "x", "sources": {"wa": {"adapter": "whatsapp"}}}
    assert layer.folder == tmp_path
    assert layer.name("database") == str(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a = 1\nb = \n", "is not TOML: Invalid value (at line 2, column 5)"),
        (b"a = 1\n[sources.wa\n", "is not TOML: Expected ']' at the end of a table declaration"),
        (b"a = 1\nb = '''\n", "(at end of document, line 3)"),
        (b"a = 1\na = 2", "line 2"),
        (b"a = " + b"9" * 5000, "is not TOML: "),
        (b"a = " + b"[" * 100_000, "is not TOML: "),
        (b"a = 1\nb = 'caf\xe9'\n", "is not UTF-8: look at line 2"),
    ],
)
def test_refuses_what_is_not_toml(tmp_path: Path, data: bytes, message: str) -> None:
    """A file that cannot be read as TOML is named, with the line where that shows."""
    file = tmp_path / "router.toml"
    file.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        from_file(file)
    assert str(caught.value).startswith(f"{file} ")
    assert message in str(caught.value)


def test_refuses_a_folder(tmp_path: Path) -> None:
    """A path that the system cannot read as a file is named, with the system's reason."""
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        from_file(tmp_path)


def test_checks_keys() -> None:
    """Known keys pass, the first unknown one is named after its place."""
    check_keys({"database": 1}, KNOWN, where="router.toml: ")
    with pytest.raises(ConfigError, match=r"^router\.toml: databse is unknown: did you mean data"):
        check_keys({"databse": 1}, KNOWN, where="router.toml: ")
