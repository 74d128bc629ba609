"""What commands print: data to stdout, as JSON or as aligned text; hints to stderr."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from importlib import import_module

import click
from rich.cells import cell_len

from router import bodies
from router.events import as_rfc3339

VERSION = 1  # of the JSON that commands print
GAP = "  "  # between two columns of plain text

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


def print_json(data: object, *, next_cursor: str | None = None) -> None:
    """Print the answer of a command that reads.

    Args:
        data: A list for a list, a mapping for one thing.
        next_cursor: What ``--cursor`` takes to go on; None where there is nothing more.
    """
    print_line({"version": VERSION, "data": data, "next_cursor": next_cursor})


def print_line(value: object, *, flush: bool = True) -> None:
    """Print ``value`` as one line of JSON in UTF-8, whatever the terminal's encoding."""
    _write(bodies.encode(value) + b"\n", flush=flush)


def print_text(text: str) -> None:
    """Print ``text`` as it is, with a line's end; what the terminal cannot show is escaped."""
    _write(f"{text}\n".encode(sys.stdout.encoding or "utf-8", "backslashreplace"), flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table with its headings; nothing where there are no rows."""
    cells = [[as_cell(value) for value in row] for row in rows]
    if not cells:
        return
    if is_terminal():
        import_module("router.cli.tables").print_table(columns, cells)  # few starts need it
    else:
        print_text("\n".join(_align([[name.upper() for name in columns], *cells])))


def print_fields(fields: Mapping[str, object]) -> None:
    """Print one thing, a line for each of its fields."""
    print_text("\n".join(_align([[f"{name}:", as_cell(fields[name])] for name in fields])))


def note(text: str) -> None:
    """Tell a person something that is not data."""
    click.echo(text, err=True)


def note_more(next_cursor: str | None) -> None:
    """Tell a person how to go on with a list."""
    if next_cursor is not None:
        note(f"There are more: --cursor {clean(next_cursor)}")


def flush() -> None:
    """Write out what `print_line` was told to keep back."""
    _write(b"", flush=True)


def is_terminal() -> bool:
    """Whether stdout is a terminal that may be given escape codes."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return sys.stdout.isatty() and not is_plain


def as_cell(value: object) -> str:
    """Return ``value`` as a cell of one line."""
    if isinstance(value, datetime):
        return as_rfc3339(value) or ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.12g}"
    if isinstance(value, list | tuple):
        return clean(", ".join(str(item) for item in value)) or "-"
    return "-" if value in (None, "") else clean(str(value))


def clean(text: str) -> str:
    """Return ``text`` with control characters escaped, lest a stranger's words move the cursor."""
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def first_line(text: str, *, width: int = 80) -> str:
    """Return the beginning of ``text``, for a cell."""
    line = (text.strip().splitlines() or [""])[0].rstrip()
    return line if len(line) <= width else line[: width - 1] + "…"


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines whose columns stand beneath each other; the last is not padded."""
    widths = [max(cell_len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        GAP.join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def _write(data: bytes, *, flush: bool) -> None:
    try:
        sys.stdout.buffer.write(data)
        if flush:
            sys.stdout.buffer.flush()
    except BrokenPipeError as error:
        # Whoever read has seen enough. What is left in the buffer would fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise click.exceptions.Exit(0) from error
