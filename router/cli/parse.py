"""`router parse`: what an adapter finds in a file, without configuration or database."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import click

from router import bodies, paths
from router.cli import output
from router.cli.settings import plugins_dir as plugins_dir_option
from router.errors import UnknownName, Unreadable
from router.events import Draft, as_rfc3339
from router.host import Host
from router.loading import explain
from router.options import explain_unknown
from router.rows import check
from router.sources import Adapter

MALFORMED = "malformed"
HANDLERS = "handlers"
COLUMNS = ("type", "subtype", "channel", "subject", "external_id", "occurred_at", "path")


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--adapter", required=True, metavar="NAME", help="Whose format, such as whatsapp.")
@click.option("--plugins", "with_handlers", is_flag=True, help="Whose handlers are for each event.")
@plugins_dir_option
@output.json_option
def parse(
    *,
    file: BinaryIO,
    adapter: str,
    with_handlers: bool,
    plugins_dir: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Print the events in FILE, as an adapter finds them.

    FILE may be - for stdin. Exits 1 where the receiver would answer 400, and 3 where an element is
    malformed.
    """
    body = file.read()
    host = Host.load(directories=plugins_dir)
    drafts = find_drafts(find_adapter(adapter, host, is_telling=with_handlers), body)
    events = list(describe(drafts, body))
    columns: tuple[str, ...] = COLUMNS
    if with_handlers:
        columns = (*COLUMNS[:2], HANDLERS, *COLUMNS[2:])
        events = [{**event, HANDLERS: find_handlers(host, str(event["type"]))} for event in events]
    if as_json:
        for event in events:
            output.print_line(event)
    else:
        names = [name.replace("_", " ") for name in columns]
        output.print_table(names, [[event[name] for name in columns] for event in events])
    malformed = [event["path"] for event in events if event["subtype"] == MALFORMED]
    if malformed:
        places = ", ".join(output.as_cell(path) for path in malformed)
        output.note(f"{len(malformed)} of {len(events)} events are malformed: {places}")
        raise click.exceptions.Exit(3)


def find_handlers(host: Host, type_: str) -> list[str]:
    """Return which hooks of which plugins are for events of that type."""
    return [
        f"{plugin.name}.{handler.hook}"
        for plugin in host.subscribers()
        for handler in plugin.handlers.values()
        if handler.type == type_
    ]


def find_adapter(name: str, host: Host, *, is_telling: bool = False) -> Adapter:
    """Return the adapter of that name.

    Args:
        name: Its name.
        host: The plugins that there are.
        is_telling: Whether a person is told of broken plugins even where it is found.

    Raises:
        UnknownName: No plugin that can be loaded offers one.
    """
    adapters = host.adapters()
    if is_telling or name not in adapters:
        for broken in host.broken:
            output.note(f"plugin {broken.name!r} cannot be used: {broken.reason}")
    if name not in adapters:
        raise UnknownName(f"the adapter {name!r} {explain_unknown(name, adapters)}")
    return adapters[name]


def find_drafts(adapter: Adapter, body: bytes) -> Sequence[Draft]:
    """Return the events in ``body``; of an adapter that breaks its promise, one, as received.

    Raises:
        Unreadable: The receiver would answer 400.
    """
    try:
        drafts = list(adapter.split(body))
        for draft in drafts:
            check(draft)
    except Unreadable:
        raise
    except Exception as error:  # what an adapter raises ends here, as it does in the receiver
        output.note(f"the adapter failed, {explain(error)}: the body would be kept as one event")
        drafts = []
    return drafts or [Draft(path="$", type="other", subtype=MALFORMED)]


def describe(drafts: Sequence[Draft], body: bytes) -> Iterator[Mapping[str, object]]:
    """Yield each event as JSON shows it; what only the log assigns is None."""
    data = _decode(body)
    for draft in drafts:
        yield {
            "position": None,
            "id": None,
            "type": draft.type,
            "subtype": draft.subtype,
            "source": None,
            "channel": draft.channel,
            "subject": draft.subject,
            "external_id": draft.external_id,
            "occurred_at": as_rfc3339(draft.occurred_at),
            "received_at": None,
            "notification_id": None,
            "path": draft.path,
            "payload": _find(data, draft.path),
        }


def _decode(body: bytes) -> object:
    try:
        return bodies.decode(body)
    except Unreadable:
        return None  # an adapter may take what is no JSON


def _find(data: object, path: str) -> object:
    try:
        return paths.find(data, path)
    except LookupError:
        return None
