"""`router send`: a file is posted to a receiver, signed as its source demands."""

import dataclasses
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import click
import httpx2

from router.assembly import make_sources
from router.cli import output
from router.cli.settings import plugins_dir, with_config
from router.cli.tls import cacert_option
from router.config import FILE_NAME, Config
from router.errors import RouterError, UnknownName
from router.host import Host
from router.options import explain_unknown
from router.outgoing import explain_tls, is_here
from router.sources import Source
from router.tls import trust

TIMEOUT = 30.0  # seconds
MAX_DETAIL = 500  # characters of an answer that is no problem document


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--source", required=True, metavar="NAME", help="The source to send as.")
@click.option(
    "--url",
    default="http://127.0.0.1:8000",
    envvar="ROUTER_URL",
    show_default=True,
    help="Where the router is.",
)
@cacert_option("ROUTER_CACERT")
@plugins_dir
@with_config
def send(found: Config, *, file: BinaryIO, source: str, url: str, cacert: Path | None) -> None:
    """Post FILE, signed, as its provider would.

    FILE may be - for stdin.
    """
    answer = post(make_source(found, source), file.read(), url=url, authorities=cacert)
    output.print_text(f"{answer.status_code} {answer.reason_phrase}".rstrip())
    if answer.status_code != httpx2.codes.OK:
        output.note(output.clean(explain(answer)))
        raise click.exceptions.Exit(1)


def make_source(config: Config, name: str) -> Source:
    """Return the source of that name; the secrets of others are left alone.

    Raises:
        UnknownName: The settings have none of that name.
        ConfigError: Its adapter is unknown, or refuses its settings.
    """
    if config.file is None:  # sources stand nowhere else
        raise UnknownName(
            f"the source {name!r} is unknown, for no settings were read: there is no {FILE_NAME} "
            "in the working directory; name another file with --config or ROUTER_CONFIG"
        )
    if name not in config.sources:
        reason = explain_unknown(name, config.sources)
        raise UnknownName(f"the source {name!r} {reason} in {config.file}")
    host = Host.load(directories=config.plugins_dir, configured=config.plugin_settings)
    alone = dataclasses.replace(config, sources={name: config.sources[name]})
    return make_sources(alone, host)[0]


def post(
    source: Source, body: bytes, *, url: str, authorities: Path | None = None
) -> httpx2.Response:
    """Send ``body`` as it is, with what ``source`` asks for, and return the answer.

    Args:
        source: Whose credentials are used.
        body: What is sent.
        url: Where the router is.
        authorities: A file with the CAs to trust; None trusts whom the system trusts.

    Raises:
        RouterError: There is none.
    """
    signed = source.sign(body)
    parts = [url.rstrip("/"), "webhooks", quote(source.name, safe="")]
    target = "/".join([*parts, quote(signed.secret, safe="")] if signed.secret else parts)
    headers = {"content-type": "application/json", **signed.headers}
    try:
        return httpx2.post(
            target,
            content=body,
            headers=headers,
            timeout=TIMEOUT,
            verify=trust(authorities) if authorities else True,
            trust_env=not is_here(url),  # a proxy would look for the router on its own machine
        )
    except httpx2.ConnectError as error:
        if said := explain_tls(error, url=url):
            raise RouterError(said) from None
        raise RouterError(
            f"nothing answers at {url} ({error}): start it with `router serve`, "
            "or name another place with --url"
        ) from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        reason = str(error) or type(error).__name__
        raise RouterError(f"{url} gave no answer: {reason}") from error


def explain(answer: httpx2.Response) -> str:
    """Return why the router did not take it, in its own words."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    detail = problem.get("detail") if isinstance(problem, dict) else None
    return str(detail or answer.text.strip()[:MAX_DETAIL] or "The answer gives no reason.")
