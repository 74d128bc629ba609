"""The file of a SQLite database: it is not made by accident, but when somebody asks for it."""

from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from router.errors import SchemaError, StoreError


def file_of(url: URL) -> Path | None:
    """Return the path of the database, or None where it is in memory."""
    if not url.database or url.database == ":memory:" or "mode=memory" in str(url):
        return None
    return Path(url.database.removeprefix("file:"))


def require(path: Path, place: Path, *_connecting: object) -> None:
    """Refuse to connect where there is no file: SQLite would make one.

    Args:
        path: As the URL names it.
        place: The same, wherever the process has gone to meanwhile.
    """
    if not place.exists():
        raise StoreError(f"there is no database {path}: create it with `router db upgrade`")


def create(engine: Engine) -> None:
    """Make the file, if it is missing: an empty one is a database without tables.

    Raises:
        SchemaError: It cannot be made.
    """
    path = file_of(engine.url)
    try:
        if path is not None:
            path.touch()
    except OSError as error:
        raise SchemaError(f"the database {path} cannot be made: {error.strerror}") from error
