"""The settings of a target: where it is, how it knows us, and which events it wants."""

from functools import cached_property

import msgspec

from router import Event
from router.errors import ConfigError
from router.events import EventType
from router.outgoing import require_https
from router.plugins.forward.signing import read_key
from router.secrets import Secret


class Settings(msgspec.Struct, frozen=True, dict=True, kw_only=True):
    """The table ``[plugins.forward]``, or that of another target.

    Attributes:
        url: Where events are posted.
        secret: ``env:NAME``, ``file:PATH`` or the secret itself; several while one replaces
            another. Each is ``whsec_`` and 24 to 64 bytes in Base64.
        types: The types of events that are wanted; empty for all.
        subtypes: Likewise.
        channels: Likewise.
        origin: The URL under which this router is known, for ``source``.
        type_prefix: What each ``type`` begins with.
    """

    url: str
    secret: Secret | tuple[Secret, ...]
    types: tuple[EventType, ...] = ()
    subtypes: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    origin: str = ""
    type_prefix: str = "notification-router"

    @cached_property
    def keys(self) -> tuple[bytes, ...]:
        """What is signed with: read once.

        Raises:
            ConfigError: A secret is missing, or not such a one.
        """
        secrets = (self.secret,) if isinstance(self.secret, Secret) else self.secret
        return tuple(read_key(secret) for secret in secrets)

    def wants(self, event: Event) -> bool:
        """Whether the event is one of those that are wanted."""
        return all(
            not wanted or value in wanted
            for value, wanted in (
                (event.type, self.types),
                (event.subtype, self.subtypes),
                (event.channel, self.channels),
            )
        )

    def require_sound(self) -> None:
        """Return when events can be posted with these settings.

        Raises:
            ConfigError: The URL is none, or a secret is missing.
        """
        require_https(self.url, what="url", allow_http=True)
        if not self.keys:
            raise ConfigError('there is no secret to sign with: write secret = "env:NAME"')

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Settings(url={self.url!r})"
