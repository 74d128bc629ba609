"""The one tree of errors: each says what happened, to what, and what to do."""

import traceback


class RouterError(Exception):
    """Any failure that the router raises on purpose; its text is meant for a person."""


class ConfigError(RouterError):
    """A setting is missing, unknown or of the wrong kind; names the file and the key."""


class SchemaError(RouterError):
    """The database's tables are not those of this version; names both revisions."""


class StoreError(RouterError):
    """A database cannot be opened or is not set up as the log's promises need."""


class PluginError(RouterError):
    """A plugin cannot be loaded as it is written.

    Args:
        plugin: The name of the plugin at fault.
        reason: What is wrong with it and how to mend it.
    """

    def __init__(self, plugin: str, reason: str) -> None:
        super().__init__(f"plugin {plugin!r}: {reason}")
        self.plugin = plugin
        self.reason = reason


class UnknownName(RouterError):
    """Somebody asked for a source, subscription, replay or event that does not exist."""


class Unreadable(RouterError):
    """A body is not one JSON value in valid UTF-8: the provider is answered 400."""


class Unverified(RouterError):
    """A request does not prove where it comes from: answered 401 (403 for a challenge).

    The text never holds what was expected, nor what was sent: it goes back to a stranger.
    """


class Unavailable(RouterError):
    """The log cannot take a notification now: answered 503, so that the provider retries.

    Args:
        reason: What stands in the way.
        retry_after: Seconds after which another try makes sense.
    """

    def __init__(self, reason: str, *, retry_after: int = 5) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class Refused(RouterError):
    """An API that was asked answered that it will not; holds its words, and no secret of ours.

    Args:
        reason: What it answered, and what to do.
        status: The status of its answer.
    """

    def __init__(self, reason: str, *, status: int) -> None:
        super().__init__(reason)
        self.status = status


class OutOfReach(RouterError):
    """A handler asked for an address that it may not reach; says why, and how to allow it."""


def trace(error: BaseException) -> str:
    """Return where ``error`` came from, line by line, and its type, for a log.

    Not its text: that of an error nobody foresaw may hold what a provider sent.
    """
    return "".join(traceback.format_tb(error.__traceback__)) + type(error).__name__
