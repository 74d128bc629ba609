"""`router coreapp`: log in to a Coreapp, see its settings, set its callback, try it."""

import os
from pathlib import Path

import click

from router.cli import output
from router.cli.arrival import test
from router.cli.coreapp_configure import configure
from router.cli.coreapp_options import (
    allow_http_option,
    coreapp_cacert_option,
    find_token_file,
    timeout_option,
    token_file_option,
    with_coreapp,
)
from router.cli.references import PLACE, REFERENCE, ask_secret
from router.coreapp import Coreapp, nest, write_login
from router.coreapp.login import try_place
from router.coreapp.settings import show_all, tell_effect
from router.errors import ConfigError
from router.events import as_rfc3339
from router.secrets import Secret


@click.group("coreapp")
def group() -> None:
    """Configure a Coreapp: the On-Premises API of WhatsApp Business."""


@group.command()
@click.option(
    "--url",
    required=True,
    envvar="ROUTER_COREAPP_URL",
    help="Where its API is, such as https://coreapp:9090.",
)
@click.option(
    "--user",
    default="admin",
    envvar="ROUTER_COREAPP_USER",
    show_default=True,
    help="Settings are the administrator's.",
)
@click.option(
    "--password",
    type=REFERENCE,
    metavar=PLACE,
    envvar="ROUTER_COREAPP_PASSWORD",
    help="Where the password is; default: it is asked for.",
)
@click.option(
    "--new-password",
    type=REFERENCE,
    metavar=PLACE,
    help="Where the password is that is to be from now on, as the very first login demands.",
)
@token_file_option
@coreapp_cacert_option
@allow_http_option
@timeout_option
def login(
    *,
    url: str,
    user: str,
    password: Secret | None,
    new_password: Secret | None,
    token_file: Path | None,
    cacert: Path | None,
    allow_http: bool,
    timeout: float,
) -> None:
    """Log in, and keep the token in a file that only you can read."""
    file = find_token_file(token_file, environ=os.environ)
    asked = Coreapp(url, authorities=cacert, allow_http=allow_http, timeout=timeout)
    try_place(file)  # first: a password may be changed, and the token lost otherwise
    given = (
        password.resolve()
        if password
        else ask_secret(f"Password of {user} at {asked.url}", option="--password")
    )
    fresh = new_password.resolve() if new_password else ""
    found = asked.login(user, given, new_password=fresh)
    try:
        write_login(found, file)
    except ConfigError as error:
        if not fresh:
            raise
        raise ConfigError(
            f"the password of {user} IS changed, but {error}; log in with the new one, "
            "without --new-password"
        ) from None
    until = f", until {as_rfc3339(found.expires)}" if found.expires else ""
    output.note(f"Logged in to {found.url} as {user}{until}. The token is in {file}.")


@group.command()
@output.json_option
@with_coreapp
def show(*, coreapp: Coreapp, as_json: bool) -> None:
    """Show its application settings; credentials in the callback are hidden."""
    settings = coreapp.read_settings()
    values = show_all(settings.values)
    if as_json:
        output.print_json(
            {"url": coreapp.url, "version": settings.version, "settings": nest(values)}
        )
        return
    output.note(f"{coreapp.url}, version {output.clean(settings.version) or 'unknown'}")
    rows = [(name, value, tell_effect(name)) for name, value in values.items()]
    output.print_table(("setting", "value", "changes take effect"), rows)


group.add_command(configure)
group.add_command(test)
