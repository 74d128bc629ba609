"""A login is kept in a file that nobody else can read, and never shown."""

import io
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console
from rich.pretty import Pretty

from router.coreapp.login import Login, read_login, try_place, write_login
from router.errors import ConfigError

LOGIN = Login(
    url="https://coreapp:9090",
    user="admin",
    token="hunter2",
    expires=datetime(2026, 12, 1, tzinfo=UTC),
    authorities="/etc/ca.pem",
)


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A login survives in its file, and a later one takes its place; nothing else is left."""
    file = tmp_path / "state" / "token.json"

    write_login(LOGIN, file)
    assert read_login(file) == LOGIN
    later = Login(url="https://other", user="admin", token="t")
    write_login(later, file)
    assert read_login(file) == later
    assert list(file.parent.iterdir()) == [file]


def test_nobody_else_can_read_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file has its mode from the moment it is made, whatever the umask is."""
    opened = []
    real = os.open

    def watch(path: str, flags: int, mode: int = 0o777) -> int:
        descriptor = real(path, flags, mode)
        opened.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        return descriptor

    file = tmp_path / "state" / "token.json"
    former = os.umask(0)
    try:
        with monkeypatch.context() as patched:
            patched.setattr(os, "open", watch)
            write_login(LOGIN, file)
    finally:
        os.umask(former)

    assert opened == [0o600]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """It is told to be closed, for its token may be known."""
    file = tmp_path / "token.json"
    write_login(LOGIN, file)
    file.chmod(0o644)

    with pytest.raises(ConfigError, match=r"others can read .*token.json: chmod 600"):
        read_login(file)


def test_who_is_not_logged_in_is_told(tmp_path: Path) -> None:
    """A missing, an empty and a broken file each tell how to log in."""
    file = tmp_path / "token.json"
    with pytest.raises(ConfigError, match=r"token.json is missing.*router coreapp login --url URL"):
        read_login(file)

    file.touch(0o600)
    for text in (b"", b"{}", b"\xff", b'{"url": 1}'):
        file.write_bytes(text)
        with pytest.raises(ConfigError, match=r"token.json holds no login: log in"):
            read_login(file)
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        read_login(tmp_path)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """Another place is asked for, and nothing is left behind."""
    (tmp_path / "file").touch()

    with pytest.raises(ConfigError, match=r"cannot be kept in .*--token-file"):
        write_login(LOGIN, tmp_path / "file" / "token.json")


def test_a_place_is_tried_before(tmp_path: Path) -> None:
    """Folders are made, nothing else is left, and what is there stays."""
    file = tmp_path / "state" / "token.json"
    try_place(file)
    assert list(file.parent.iterdir()) == []
    write_login(LOGIN, file)
    try_place(file)
    assert read_login(file) == LOGIN

    for place in (tmp_path, file / "token.json"):
        with pytest.raises(ConfigError, match=r"cannot be kept in .*--token-file"):
            try_place(place)
    assert list(tmp_path.rglob("*")) == [file.parent, file]


def test_the_token_is_never_shown() -> None:
    """No text of a login holds it."""
    shown = io.StringIO()
    Console(file=shown).print(Pretty(LOGIN))

    for text in (repr(LOGIN), str(LOGIN), f"{[LOGIN]}", shown.getvalue()):
        assert "hunter2" not in text
        assert "https://coreapp:9090" in text
