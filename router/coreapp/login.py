"""A login to a Coreapp: the token that stands for a password, and the file that keeps it."""

import errno
import os
import stat
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import msgspec

from router.errors import ConfigError

ADVICE = "log in: router coreapp login --url URL"
PRIVATE = stat.S_IRUSR | stat.S_IWUSR


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What a login gave.

    Attributes:
        url: The Coreapp.
        user: Who logged in.
        token: The bearer token: whoever has it is that user.
        expires: When it ends, a week later by the Coreapps seen; None where that was not said.
        authorities: The file with the CAs by which the Coreapp was trusted.
    """

    url: str
    user: str
    token: str
    expires: datetime | None = None
    authorities: str | None = None

    def __repr__(self) -> str:
        """Show whose it is, never the token."""
        return f"Login(url={self.url!r}, user={self.user!r}, expires={self.expires})"

    def __rich_repr__(self) -> list[tuple[str, object]]:
        """Stand in for msgspec's own, which shows rich every field."""
        return [("url", self.url), ("user", self.user), ("expires", self.expires)]


def try_place(file: Path) -> None:
    """Return when a login can be kept in ``file``; what is there stays.

    Raises:
        ConfigError: Its folder cannot be made, or nothing can be written there.
    """
    fresh = _name_fresh(file)
    try:
        if file.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _write(b"", fresh)
        fresh.unlink()
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise _refuse(file, error) from None


def write_login(login: Login, file: Path) -> None:
    """Keep a login in ``file``, which nobody else can read at any moment.

    Raises:
        ConfigError: The file cannot be written.
    """
    fresh = _name_fresh(file)
    try:
        _write(msgspec.json.encode(login), fresh)
        fresh.replace(file)
    except OSError as error:
        with suppress(OSError):
            fresh.unlink(missing_ok=True)
        raise _refuse(file, error) from None


def read_login(file: Path) -> Login:
    """Return the login that is kept in ``file``.

    Raises:
        ConfigError: There is none, or others can read it.
    """
    try:
        with file.open("rb") as opened:
            mode = os.fstat(opened.fileno()).st_mode
            text = opened.read()
    except FileNotFoundError:
        raise ConfigError(
            f"nobody is logged in to a Coreapp ({file} is missing): {ADVICE}"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"the token in {file} cannot be read: {error.strerror or error}"
        ) from None
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError(f"others can read the token in {file}: chmod 600 it, or {ADVICE}")
    try:
        return msgspec.json.decode(text, type=Login)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ConfigError(f"{file} holds no login: {ADVICE}") from None


def _name_fresh(file: Path) -> Path:
    return file.with_name(f".{file.name}.{uuid4().hex}")


def _write(text: bytes, fresh: Path) -> None:
    fresh.parent.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    # Made with its mode: a file that is closed afterwards stood open for a moment.
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(text)


def _refuse(file: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the token cannot be kept in {file}: {error.strerror or error}: "
        "name another place with --token-file"
    )
