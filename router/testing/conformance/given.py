"""What an adapter's author gives, and what any of the checks asks of it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from router import bodies, paths, rows
from router.errors import StoreError, Unreadable, Unverified
from router.events import Draft, Notification
from router.sources import Adapter, Request, Source

SHOWN = 60  # bytes of a body that a failure shows


class Given(msgspec.Struct, frozen=True):
    """What an adapter's author gives.

    Attributes:
        settings: With which the adapter makes a source.
        samples: Bodies as the provider sends them.
    """

    adapter: Adapter
    settings: Mapping[str, object]
    samples: Sequence[bytes]

    def make_source(self) -> Source:
        """Return a source with the settings that were given."""
        return self.adapter.make_source("conformance", self.settings)


class Broken(AssertionError):
    """A promise is not kept; says which one, and by what it was seen."""


def require(condition: object, what: str) -> None:
    """Go on if ``condition`` holds.

    Raises:
        Broken: It does not.
    """
    if not condition:
        raise Broken(what)


def show(body: bytes) -> str:
    """Return the beginning of a body, for people."""
    return repr(body if len(body) <= SHOWN else body[:SHOWN] + b"...")


def split(source: Source, body: bytes) -> list[Draft] | None:
    """Return the events in ``body``; None where it is unreadable.

    Raises:
        Broken: Something else came of it than events or `Unreadable`.
    """
    try:
        drafts = list(source.split(body))
    except Unreadable:
        return None
    except Exception as error:
        said = f"split() raised {error!r} for {show(body)}: events are due, or Unreadable"
        raise Broken(said) from error
    require(drafts, f"split() gave nothing for {show(body)}: at least one event is due")
    return drafts


def split_sample(source: Source, body: bytes) -> list[Draft]:
    """Return the events in one of the samples, which must be readable."""
    drafts = split(source, body)
    if drafts is None:
        raise Broken(f"split() called a sample unreadable: {show(body)}")
    return drafts


def require_split(source: Source, body: bytes) -> None:
    """Hold what comes of ``body`` to all that is promised of any.

    Raises:
        Broken: A promise is not kept.
    """
    drafts = split(source, body)
    require(drafts == split(source, body), f"split() gave two results for {show(body)}")
    if drafts is None:
        return
    require_storable(drafts, body)
    require_paths(drafts, body)


def require_storable(drafts: Sequence[Draft], body: bytes) -> None:
    """Go on if the log can hold the events."""
    for draft in drafts:
        require(draft.subtype, f"an event has no subtype, at {draft.path} in {show(body)}")
    notification = Notification("conformance", datetime.now(UTC), {}, body)
    try:
        rows.find(notification, drafts)
    except StoreError as error:
        raise Broken(f"the log cannot store an event of {show(body)}: {error}") from error


def require_paths(drafts: Sequence[Draft], body: bytes) -> None:
    """Go on if each event has a path of its own that leads to something in the body."""
    found = [draft.path for draft in drafts]
    require(len(set(found)) == len(found), f"two events have one path in {show(body)}: {found}")
    try:
        data = bodies.decode(body)
    except Unreadable:
        require(found == ["$"], f"only $ leads anywhere in what is not JSON, not {found}")
        return
    for path in found:
        try:
            paths.find(data, path)
        except (LookupError, ValueError) as error:
            raise Broken(f"the path {path} leads nowhere in {show(body)}: {error}") from error


def verify(source: Source, request: Request) -> str | None:
    """Return why a request is refused; None where it is accepted.

    Raises:
        Broken: Something else came of it.
    """
    try:
        source.verify(request)
    except Unverified as error:
        return str(error)
    except Exception as error:
        raise Broken(f"verify() raised {error!r}: nothing is due, or Unverified") from error
    return None
