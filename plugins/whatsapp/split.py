"""The walk through a WhatsApp body, On-Premises or Cloud, that finds every event in it."""

from router import bodies
from router.events import Draft
from router.plugins.whatsapp.elements import (
    Element,
    find_only_contact,
    find_text,
    malformed,
    read_error,
    read_field,
    read_message,
    read_status,
    unrecognised,
)

# In the order in which their events are logged.
_READERS = {"messages": read_message, "statuses": read_status, "errors": read_error}


def split(body: bytes, *, channel: str = "") -> list[Draft]:
    """Return the events in ``body``: at least one, in the order in which they stand there.

    An element that cannot be read becomes one event of subtype ``malformed`` and costs no other;
    a body in which nothing is known becomes one of subtype ``unrecognised``.

    Args:
        body: A notification's bytes, in either shape.
        channel: What receives it, where the body does not say.

    Raises:
        Unreadable: The body is not JSON.
    """
    data = bodies.decode(body)
    drafts: list[Draft] = []
    if type(data) is dict:
        # An object with `entry` is in the Cloud shape; in the other, the root is what a Cloud
        # change calls its value.
        if data.get("entry") is not None:
            _split_cloud(data, channel, drafts)
        else:
            _split_value(data, "$", "$", channel, drafts)
    return drafts or [unrecognised("$", channel=channel)]


# Each of these adds what it finds to ``drafts``: generators inside one another take twice as long.


def _split_cloud(data: Element, channel: str, drafts: list[Draft]) -> None:
    for path, entry in _pair(data.get("entry"), "$.entry"):
        if entry is None:
            drafts.append(malformed(path, channel=channel))
        elif entry.get("changes") is None and not entry.keys() <= {"id", "time", "changes"}:
            drafts.append(unrecognised(path, channel=channel or find_text(entry, "id") or ""))
        else:
            _split_entry(entry, path, channel, drafts)


def _split_entry(entry: Element, path: str, channel: str, drafts: list[Draft]) -> None:
    for at, change in _pair(entry.get("changes"), f"{path}.changes"):
        if change is None:
            drafts.append(malformed(at, channel=channel or find_text(entry, "id") or ""))
        else:
            _split_change(change, entry, at, channel, drafts)


def _split_change(
    change: Element, entry: Element, path: str, channel: str, drafts: list[Draft]
) -> None:
    field, value = find_text(change, "field"), change.get("value", {})
    account, number = find_text(entry, "id"), _find_number(value)
    # Fields other than messages use the same words for other things: `calls` has statuses.
    if field not in (None, "messages"):
        channel = number or account or channel
        drafts.append(read_field(field, change, entry, path=path, channel=channel))
        return
    channel = number or channel or account or ""
    if field is None and not _holds_known(value):
        drafts.append(unrecognised(path, channel=channel))
    elif type(value) is not dict:
        drafts.append(malformed(f"{path}.value", channel=channel))
    else:
        _split_value(value, f"{path}.value", path, channel, drafts)


def _split_value(value: Element, path: str, whole: str, channel: str, drafts: list[Draft]) -> None:
    """Split what holds the lists; ``whole`` is the path of the piece that it is the content of."""
    if value and not _holds_known(value):
        drafts.append(unrecognised(whole, channel=channel))
        return
    contact = find_only_contact(value)
    for name, read in _READERS.items():
        if (found := value.get(name)) is None:  # most often, of two of the three
            continue
        for at, element in _pair(found, f"{path}.{name}"):
            if element is None:
                drafts.append(malformed(at, channel=channel))
            else:
                drafts.append(read(element, path=at, channel=channel, contact=contact))


def _pair(found: object, path: str) -> list[tuple[str, Element | None]]:
    """Return path and element for each of a list; None for what is no object, or no list."""
    if type(found) is not list:
        return [] if found is None else [(path, None)]
    return [
        (f"{path}[{index}]", element if type(element) is dict else None)
        for index, element in enumerate(found)
    ]


def _holds_known(value: object) -> bool:
    return type(value) is dict and not _READERS.keys().isdisjoint(value)


def _find_number(value: object) -> str | None:
    metadata = value.get("metadata") if type(value) is dict else None
    return find_text(metadata, "phone_number_id") if type(metadata) is dict else None
