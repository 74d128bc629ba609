"""WhatsApp Business as a source: the On-Premises and the Cloud API, on one route."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack, cast

from router.errors import ConfigError, Unverified
from router.events import Draft
from router.hookspecs import hookimpl
from router.plugins.whatsapp.elements import is_text
from router.plugins.whatsapp.settings import (
    Settings,
    check_settings,
    make_verification,
    read_secrets,
)
from router.plugins.whatsapp.split import split
from router.sources import Adapter, Request, Signed
from router.verification import matches

__all__ = ["WhatsApp", "WhatsAppAdapter"]


class WhatsApp:
    """An app or a number of WhatsApp Business that sends notifications.

    Args:
        name: Its name, the last part of ``/webhooks/{source}``.
        folder: What a relative ``file:PATH`` in the settings counts from.
        **settings: See `Settings`; what must be given is a verification.

    Raises:
        ConfigError: A setting is unknown or of the wrong kind, a secret cannot be read, or nothing
            says how a request proves its origin.

    Example: ``WhatsApp("wa", app_secrets=["env:WA_SECRET"], verify_token="env:WA_TOKEN")``
    """

    def __init__(self, name: str, *, folder: Path = Path(), **settings: Unpack[Settings]) -> None:
        where = f"[sources.{name}]"
        checked = check_settings(settings, where=where)
        if checked.channel and not is_text(checked.channel):
            raise ConfigError(f"{where}.channel must be a text of at most 512 bytes")
        self.name = name
        self._channel = checked.channel
        self._verification = make_verification(checked, where=where, folder=folder)
        token = [checked.verify_token] if "verify_token" in settings else []
        self._verify_tokens = read_secrets(token, where=f"{where}.verify_token", folder=folder)

    def verify(self, request: Request) -> None:
        """Return when ``request`` proves its origin, else raise `Unverified`."""
        self._verification.verify(request)

    def answer_challenge(self, request: Request) -> str:
        """Return the ``hub.challenge`` of a subscription that knows our token."""
        if not self._verify_tokens:
            raise Unverified("this source has no verify_token: it answers no challenge")
        if request.query.get("hub.mode") != "subscribe":
            raise Unverified("the request does not ask to subscribe")
        if not matches(request.query.get("hub.verify_token", ""), self._verify_tokens):
            raise Unverified("the request does not know the verify token")
        if "hub.challenge" not in request.query:
            raise Unverified("the request holds no challenge to answer")
        return request.query["hub.challenge"]

    def split(self, body: bytes) -> Sequence[Draft]:
        """Return the events inside ``body``: at least one, always the same ones."""
        return split(body, channel=self._channel)

    def sign(self, body: bytes) -> Signed:
        """Return what makes ``body`` acceptable to `verify`."""
        return self._verification.sign(body)


class WhatsAppAdapter:
    """Makes WhatsApp sources from settings.

    Attributes:
        version: Of what it yields; the golden set of that version pins it in the tests.
    """

    version = 1

    def make_source(
        self, name: str, settings: Mapping[str, object], *, folder: Path = Path()
    ) -> WhatsApp:
        """Return the source of that name, its secrets read; see `WhatsApp`."""
        return WhatsApp(name, folder=folder, **cast("Settings", dict(settings)))

    def split(self, body: bytes) -> Sequence[Draft]:
        """Return the events inside ``body`` as a source without settings would find them."""
        return split(body)


@hookimpl
def sources() -> Mapping[str, Adapter]:
    """Offer the adapter as ``adapter = "whatsapp"``."""
    return {"whatsapp": WhatsAppAdapter()}
