"""The seam to providers: what a source is asked, and what it is asked with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from router.events import Draft


class Request(msgspec.Struct, frozen=True):
    """What a source sees of an HTTP request.

    Attributes:
        headers: Names in lower case.
        query: The decoded query string.
        secret: The last part of the path, where the provider proves itself by its URL.
        body: The raw bytes; empty for a GET.
    """

    headers: Mapping[str, str] = {}
    query: Mapping[str, str] = {}
    secret: str = ""
    body: bytes = b""


class Signed(msgspec.Struct, frozen=True):
    """What a sender adds to a body so that the source accepts it."""

    headers: Mapping[str, str] = {}
    secret: str = ""


class Source(Protocol):
    """A configured origin of notifications. Whatever it is given, it answers or refuses cleanly."""

    @property
    def name(self) -> str:
        """Its name, the last part of ``/webhooks/{source}``."""

    def verify(self, request: Request) -> None:
        """Return when ``request`` proves its origin.

        Raises:
            Unverified: It does not.
        """

    def answer_challenge(self, request: Request) -> str:
        """Return what a GET that asks for proof of the route's ownership is to be answered.

        Raises:
            Unverified: The request does not know the agreed token, or asks nothing.
        """

    def split(self, body: bytes) -> Sequence[Draft]:
        """Return the events inside ``body``: at least one, always the same ones.

        Called on the one thread that appends, beside the event loop, on which `verify` is called.

        Raises:
            Unreadable: The body is not in the provider's format at all.
        """

    def sign(self, body: bytes) -> Signed:
        """Return what makes ``body`` acceptable to `verify`, for sending tests and replays."""


class Adapter(Protocol):
    """The code that knows a provider: makes sources from settings.

    Attributes:
        version: Raised by one when the meaning changes of what it yields: when a body gives other
            events, or the same under another type, subject or natural key. `version_of` takes an
            adapter that has none for one of version 0, so that older ones still load.
    """

    version: int

    def make_source(
        self, name: str, settings: Mapping[str, object], *, folder: Path = Path()
    ) -> Source:
        """Return the source of that name, its secrets read.

        Args:
            name: Its name, the last part of ``/webhooks/{source}``.
            settings: The keys of ``[sources.NAME]`` but ``adapter``.
            folder: What a relative ``file:PATH`` in them counts from.

        Raises:
            ConfigError: A setting is unknown, missing or of the wrong kind; names its key.
        """

    def split(self, body: bytes) -> Sequence[Draft]:
        """Return the events inside ``body`` as a source without settings would find them."""


def version_of(adapter: Adapter) -> int:
    """Return the version of ``adapter``; 0 where it does not say."""
    version: int = getattr(adapter, "version", 0)
    return version
