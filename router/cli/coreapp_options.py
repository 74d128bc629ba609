"""What the commands about a Coreapp share: where the token is kept, and the Coreapp it is for."""

import functools
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click

from router.cli import selection
from router.cli.tls import FILE, cacert_option
from router.coreapp import Coreapp, Login, read_login
from router.errors import ConfigError
from router.events import as_rfc3339
from router.tls import trust

T = TypeVar("T")

TOKEN_FILE = "coreapp.token.json"  # noqa: S105 - a name

token_file_option = click.option(
    "--token-file",
    metavar="FILE",
    type=FILE,
    envvar="ROUTER_COREAPP_TOKEN_FILE",
    help=f"Where the token is kept; default: {TOKEN_FILE} in notification-router, "
    "in $XDG_STATE_HOME or ~/.local/state.",
)
timeout_option = click.option(
    "--timeout",
    default="30s",
    show_default=True,
    type=selection.duration,
    metavar="DURATION",
    help="How long each step of a request may take.",
)
allow_http_option = click.option(
    "--allow-http", is_flag=True, help="Take a URL without HTTPS, on a network that is safe."
)
coreapp_cacert_option = cacert_option("ROUTER_COREAPP_CACERT")


def find_token_file(given: Path | None, *, environ: Mapping[str, str]) -> Path:
    """Return where the token is kept: where somebody said, else among the user's own state."""
    if given is not None:
        return given
    state = environ.get("XDG_STATE_HOME", "")
    # A relative one is to be ignored, says the XDG Base Directory Specification.
    folder = Path(state) if os.path.isabs(state) else Path("~/.local/state").expanduser()
    return folder / "notification-router" / TOKEN_FILE


def require_valid(login: Login, *, now: datetime) -> None:
    """Return when a login is still good, as far as it says.

    Raises:
        ConfigError: It has expired.
    """
    if login.expires is not None and login.expires <= now:
        raise ConfigError(
            f"the login to {login.url} expired at {as_rfc3339(login.expires)}: log in again: "
            f"router coreapp login --url {login.url} --user {login.user}"
        )


def find_authorities(login: Login) -> Path | None:
    """Return the file with the CAs by which the Coreapp was trusted at the login, if there was one.

    Raises:
        ConfigError: It cannot be used any more.
    """
    if not login.authorities:
        return None
    file = Path(login.authorities)
    try:
        trust(file)
    except ConfigError as error:
        raise ConfigError(
            f"{error} (it is the CA of the login): name it with --cacert FILE, or log in again: "
            f"router coreapp login --url {login.url} --user {login.user}"
        ) from None
    return file


def with_coreapp(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the Coreapp that somebody is logged in to; it gets it as ``coreapp``."""

    @token_file_option
    @coreapp_cacert_option
    @timeout_option
    @functools.wraps(command)
    def run(
        *args: object,
        token_file: Path | None,
        cacert: Path | None,
        timeout: float,
        **kwargs: object,
    ) -> T:
        login = read_login(find_token_file(token_file, environ=os.environ))
        require_valid(login, now=datetime.now(UTC))
        authorities = cacert or find_authorities(login)
        coreapp = Coreapp(
            login.url,
            token=login.token,
            authorities=authorities,
            allow_http=True,  # who logged in has allowed it, or it is none
            timeout=timeout,
        )
        return command(*args, coreapp=coreapp, **kwargs)

    return run
