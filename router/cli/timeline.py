"""`router timeline`: what became of a message, or what happened in a conversation."""

import click

from router.bodies import encode, find
from router.cli import output, selection
from router.cli.settings import with_log
from router.log import EventLog
from router.plugins.timeline.reading import find_message, list_steps, require_tables

COLUMNS = ("position", "at", "type", "subtype", "message id", "errors")


@click.command()
@click.argument("message_id", required=False)
@click.option("--subject", metavar="TEXT", help="A conversation instead: channel:conversation.")
@click.option("--channel", metavar="TEXT", help="The message's, where several have its id.")
@output.json_option
@selection.limit_option
@selection.position_cursor_option
@with_log
def timeline(
    log: EventLog,
    *,
    message_id: str | None,
    subject: str | None,
    channel: str | None,
    cursor: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show how far a message of the business got, or what happened in a conversation.

    The plugin timeline keeps it; [plugins.timeline] in router.toml switches it on.
    """
    if message_id is not None and subject is None and cursor is None:
        _show(log, message_id, channel=channel, as_json=as_json)
    elif message_id is None and subject is not None and channel is None:
        _list(log, subject, after=cursor or 0, limit=limit, as_json=as_json)
    else:
        raise click.UsageError(
            "Give a MESSAGE_ID, perhaps with --channel, or a --subject, perhaps with --cursor."
        )


def _show(log: EventLog, message_id: str, *, channel: str | None, as_json: bool) -> None:
    with log.store.reading() as connection:
        require_tables(connection)
        fields = find_message(connection, message_id, channel=channel).as_dict()
    if as_json:
        output.print_json(fields)
        return
    fields["errors"] = _describe(fields["errors"])
    if fields["pricing"] is not None:
        fields["pricing"] = encode(fields["pricing"]).decode()
    output.print_fields({name.replace("_", " "): value for name, value in fields.items()})


def _list(log: EventLog, subject: str, *, after: int, limit: int, as_json: bool) -> None:
    with log.store.reading() as connection:
        require_tables(connection)
        steps = list_steps(connection, subject, limit=limit + 1, after=after)
    shown, has_more = selection.take((step.as_dict() for step in steps), limit)
    next_cursor = str(shown[-1]["position"]) if has_more else None
    if as_json:
        output.print_json(shown, next_cursor=next_cursor)
        return
    names = [name.replace(" ", "_") for name in COLUMNS[:-1]]
    cells = [[*(step[name] for name in names), _describe(step["errors"])] for step in shown]
    output.print_table(COLUMNS, cells)
    output.note_more(next_cursor)
    if not shown:
        output.note(
            "Nothing is known of this subject. `router events list` shows how subjects are "
            "written; `router replay start timeline` adds what came before the plugin."
        )


def _describe(errors: object) -> str:
    """Return the errors as a person reads them: code, title and details, in either shape."""
    return "; ".join(_explain(error) for error in errors) if isinstance(errors, list) else ""


def _explain(error: object) -> str:
    details = find(error, "error_data", "details") or find(error, "details")
    title = find(error, "title") or find(error, "message")
    said = [str(part) for part in (find(error, "code"), title) if part is not None]
    told = f": {details}" if details and details != title else ""
    return (" ".join(said) or encode(error).decode()) + told
