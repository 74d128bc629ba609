"""`router cloud`: subscribe an app of the Cloud API, and say where notifications go."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from router.cli import output
from router.cli.bulk import dry_run_option, require_consent, yes_option
from router.cli.coreapp_options import allow_http_option, timeout_option
from router.cli.references import PLACE, REFERENCE
from router.cli.tls import cacert_option
from router.cloud import BASE, VERSION, Callbacks, Cloud, Override, Subscribed
from router.errors import RouterError
from router.masks import mask_callback
from router.secrets import Secret

T = TypeVar("T")

COLUMNS = ("id", "name", "override_callback_uri")
UNKNOWN_APP = "The Graph API does not tell which app is the token's"

_OPTIONS: list[Callable[[Callable[..., object]], Callable[..., object]]] = [
    click.option("--waba", metavar="ID", help="The WhatsApp Business Account."),
    click.option("--phone-number", metavar="ID", help="The id of a phone number, instead."),
    click.option(
        "--token",
        type=REFERENCE,
        metavar=PLACE,
        required=True,
        envvar="ROUTER_CLOUD_TOKEN",
        help="Where the access token is, which needs whatsapp_business_management.",
    ),
    click.option("--graph-url", default=BASE, envvar="ROUTER_GRAPH_URL", show_default=True),
    click.option(
        "--graph-version", default=VERSION, envvar="ROUTER_GRAPH_VERSION", show_default=True
    ),
    cacert_option("ROUTER_CLOUD_CACERT"),
    allow_http_option,
    timeout_option,
]


def with_cloud(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the Graph API as ``cloud``, and the one of ``waba`` and ``phone_number``."""

    @functools.wraps(command)
    def run(
        *,
        token: Secret,
        graph_url: str,
        graph_version: str,
        cacert: Path | None,
        allow_http: bool,
        timeout: float,
        waba: str | None,
        phone_number: str | None,
        **kwargs: object,
    ) -> T:
        if bool(waba) == bool(phone_number):
            raise click.UsageError("Name one of --waba and --phone-number.")
        cloud = Cloud(
            token.resolve(),
            base=graph_url,
            version=graph_version,
            authorities=cacert,
            allow_http=allow_http,
            timeout=timeout,
        )
        return command(cloud=cloud, waba=waba, phone_number=phone_number, **kwargs)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run


@click.group("cloud")
def group() -> None:
    """Say where the Cloud API of WhatsApp Business sends notifications."""


@group.command()
@output.json_option
@with_cloud
def show(*, cloud: Cloud, waba: str | None, phone_number: str | None, as_json: bool) -> None:
    """Show the apps subscribed to an account, or the callbacks of a number."""
    if waba:
        apps = _app_rows(cloud.read_subscriptions(waba))
        if as_json:
            listed = [dict(zip(COLUMNS, row, strict=True)) for row in apps]
            output.print_json({"waba": waba, "subscribed_apps": listed})
        else:
            output.print_table(COLUMNS, apps)
            if not apps:
                output.note("No app is subscribed: router cloud subscribe --waba ID")
        return
    rows = _callback_rows(cloud.read_callbacks(phone_number or ""))
    if as_json:
        output.print_json({"phone_number": phone_number, "callbacks": dict(rows)})
    else:
        output.print_table(("set on", "callback"), rows)
        output.note("The first of these that is set is where notifications go.")


@group.command()
@click.option("--callback", metavar="URL", help="Where notifications go, at most 200 characters.")
@click.option(
    "--verify-token",
    type=REFERENCE,
    metavar=PLACE,
    help="Where the source's verify_token is: the callback is asked for it at once.",
)
@click.option("--no-callback", is_flag=True, help="Take an earlier --callback back.")
@dry_run_option
@yes_option
@with_cloud
def subscribe(
    *,
    cloud: Cloud,
    waba: str | None,
    phone_number: str | None,
    callback: str | None,
    verify_token: Secret | None,
    no_callback: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Subscribe the token's app to an account, and say where notifications go.

    Without --callback they go to the app's own. With --phone-number, nothing is subscribed: it says
    where those about one number go.
    """
    if bool(callback) and no_callback:
        raise click.UsageError("--callback and --no-callback exclude each other.")
    override = cloud.check_override(
        callback or "", verify_token=verify_token.resolve() if verify_token else ""
    )
    if waba:
        subscribe_account(cloud, waba, override, keeps=not no_callback, dry_run=dry_run, yes=yes)
    elif callback or no_callback:
        override_number(cloud, phone_number or "", override, dry_run=dry_run, yes=yes)
    else:
        raise click.UsageError("A phone number needs --callback or --no-callback.")


def subscribe_account(
    cloud: Cloud, account: str, override: Override, *, keeps: bool, dry_run: bool, yes: bool
) -> None:
    """Subscribe the app to an account, with or without an override, and look whether it is so."""
    before = cloud.read_subscriptions(account)
    output.print_table(COLUMNS, _app_rows(before))
    own = cloud.read_app()
    earlier = [app for app in _select(before, own) if app.override_callback_uri]
    if earlier and not override.callback and keeps:
        doubt = "" if own else f" {UNKNOWN_APP}, so it may be that of another app."
        raise click.UsageError(
            "Without a callback, the override that is set would be lost: add --no-callback to take "
            f"it back, or --callback to replace it.{doubt}"
        )
    question = f"Subscribe the token's app to {account}, its notifications to go to {override}?"
    if dry_run:
        output.note(f"To be done: {question}")
        return
    require_consent(question, yes=yes)
    cloud.subscribe(account, override)
    after = cloud.read_subscriptions(account)
    found = _select(after, own)
    if own is None and after != before:
        found = [app for app in after if app not in before]
    if override.callback not in [app.override_callback_uri or "" for app in found]:
        raise RouterError(
            f"the Graph API took it, but {account} reads back without it: "
            f"look again with router cloud show --waba {account}, then run this again"
        )
    if own is None and after == before:
        output.note(
            f"The Graph API took it, and {account} reads back as before. {UNKNOWN_APP}: look "
            f"whether its row goes to {override}, with router cloud show --waba {account}"
        )
        return
    output.note(f"Subscribed; the notifications of {account} go to {override}.")


def override_number(
    cloud: Cloud, number: str, override: Override, *, dry_run: bool, yes: bool
) -> None:
    """Say where the notifications about one number go, and look whether it is so."""
    before = cloud.read_callbacks(number)
    output.print_table(("set on", "callback"), _callback_rows(before))
    if (before.phone_number or "") == override.callback:
        output.note(f"There is nothing to change: those about {number} go to {override}.")
        return
    question = f"Send the notifications about {number} to {override}?"
    if dry_run:
        output.note(f"To be done: {question}")
        return
    require_consent(question, yes=yes)
    cloud.override_number(number, override)
    # It has been seen to answer success and change nothing.
    if (cloud.read_callbacks(number).phone_number or "") != override.callback:
        raise RouterError(
            f"the Graph API took it, but {number} reads back otherwise: "
            f"look again with router cloud show --phone-number {number}, then run this again"
        )
    output.note(f"The notifications about {number} go to {override}.")


def _select(apps: Sequence[Subscribed], own: str | None) -> list[Subscribed]:
    """Return the rows of the token's own app; all where it is not known which that is."""
    return [app for app in apps if own in (None, app.id)]


def _app_rows(apps: Sequence[Subscribed]) -> list[tuple[str, str, str | None]]:
    return [(app.id, app.name, _show(app.override_callback_uri)) for app in apps]


def _callback_rows(callbacks: Callbacks) -> list[tuple[str, str | None]]:
    return [(name, _show(value)) for name, value in msgspec.structs.asdict(callbacks).items()]


def _show(url: str | None) -> str | None:
    return mask_callback(url) if url else None
