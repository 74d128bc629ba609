"""Tests of secrets: where they come from, and that they do not show."""

import os
from pathlib import Path

import pytest
from rich.pretty import pretty_repr

from router.errors import ConfigError
from router.secrets import Secret


def test_as_given() -> None:
    """A text that names no place is the secret itself, colons and spaces included."""
    for text in ("hush", "a:b", "environment:X", " hush "):
        assert Secret(text).resolve() == text


def test_from_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """``env:NAME`` is read from the environment, each time anew."""
    secret = Secret("env:ROUTER_TEST_SECRET")
    for value in ("one", "two\n", "pässword"):
        monkeypatch.setenv("ROUTER_TEST_SECRET", value)
        assert secret.resolve() == value


def test_from_file(tmp_path: Path) -> None:
    """``file:PATH`` is read, relative to a folder, without the line end behind the secret."""
    (tmp_path / "one").write_bytes(" pässword \r\n\n".encode())
    assert Secret("file:one", tmp_path).resolve() == " pässword "
    assert Secret(f"file:{tmp_path / 'one'}").resolve() == " pässword "


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "is empty"), (b"\n", "is empty"), (b"\xff", "cannot be read")]
)
def test_unusable_file(tmp_path: Path, content: bytes, reason: str) -> None:
    """A file without a text in it is refused, and the message names it."""
    (tmp_path / "one").write_bytes(content)
    with pytest.raises(ConfigError, match=f"file:one .*{reason}|file:one {reason}"):
        Secret("file:one", tmp_path).resolve()


@pytest.mark.parametrize("reference", ["file:none", "file:", "file:a\0b", "file:../none/at/all"])
def test_missing_file(tmp_path: Path, reference: str) -> None:
    """A path at which there is no file is refused."""
    with pytest.raises(ConfigError, match="cannot be read"):
        Secret(reference, tmp_path).resolve()


@pytest.mark.parametrize("reference", ["env:ROUTER_TEST_NONE", "env:", ""])
def test_empty(reference: str) -> None:
    """Nothing is no secret: anybody would know it."""
    with pytest.raises(ConfigError, match="is empty"):
        Secret(reference).resolve()


@pytest.mark.skipif(os.name == "nt", reason="its environment is text, never bytes")
def test_environment_that_is_not_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that is not UTF-8 is refused rather than failing at the first request."""
    monkeypatch.setitem(os.environb, b"ROUTER_TEST_SECRET", b"\xff\xfe")
    with pytest.raises(ConfigError, match="env:ROUTER_TEST_SECRET is not text"):
        Secret("env:ROUTER_TEST_SECRET").resolve()


def test_shown() -> None:
    """A secret shows where it is kept, and never itself, not even to rich."""
    for reference, shown in (("hush", "(given"), ("env:X", "env:X"), ("file:x", "file:x")):
        secret = Secret(reference)
        for text in (str(secret), repr(secret), f"{[secret]}", pretty_repr(secret)):
            assert shown in text
            assert "hush" not in text
