"""What the tests of the splitter share: splitting a value, and the events of one element."""

from collections.abc import Sequence

from router.events import Draft
from router.plugins.whatsapp.split import split
from tests import samples


def events(value: object, *, channel: str = "") -> list[Draft]:
    """Split ``value`` as a body."""
    return split(samples.as_body(value), channel=channel)


def only(value: object, *, channel: str = "") -> Draft:
    """Split ``value`` and return its only event."""
    (draft,) = events(value, channel=channel)
    return draft


def kinds(drafts: Sequence[Draft]) -> list[tuple[str, str]]:
    """Return type and subtype of each."""
    return [(draft.type, draft.subtype) for draft in drafts]


def message_of(**changes: object) -> Draft:
    """Return the event of a Cloud message with these changes."""
    return only(samples.cloud_value(messages=[samples.text_message(**changes)]))


def status_of(word: str = "sent", /, **changes: object) -> Draft:
    """Return the event of a Cloud status with these changes."""
    return only(samples.cloud_value(statuses=[samples.status(word, **changes)]))
