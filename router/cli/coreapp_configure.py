"""`router coreapp configure`: settings are compared, shown, changed, and read back."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import click

from router.cli import output, selection
from router.cli.bulk import dry_run_option, require_consent, yes_option
from router.cli.coreapp_options import allow_http_option, with_coreapp
from router.cli.references import PLACES
from router.cli.send import make_source
from router.cli.settings import plugins_dir, with_config
from router.cli.tls import FILE
from router.config import Config
from router.coreapp import Change, Coreapp, Settings, find_changes, nest
from router.coreapp.callback import make_callback
from router.coreapp.settings import WEBHOOK_CA, find_side_effects, has_switches, show
from router.errors import ConfigError, RouterError
from router.masks import mask_callback
from router.outgoing import require_https
from router.secrets import Secret
from router.tls import read_authorities

NAMES = {
    "sent": "webhooks.message.sent",
    "delivered": "webhooks.message.delivered",
    "read": "webhooks.message.read",
    "sent_status": "sent_status",
    "callback_persist": "callback_persist",
    "max_concurrent_requests": "webhooks.max_concurrent_requests",
    "backoff_delay": "callback_backoff_delay_ms",
    "max_backoff_delay": "max_callback_backoff_delay_ms",
}


@click.command()
@click.option(
    "--webhook-url",
    metavar="URL",
    help="webhooks.url, in full; env:NAME or file:PATH where it holds credentials.",
)
@click.option(
    "--router-url",
    metavar="URL",
    help="Where the router is, seen from the Coreapp; with --source, instead of --webhook-url.",
)
@click.option(
    "--source",
    metavar="NAME",
    help="The source that is to receive: its path and its first credentials make the callback.",
)
@click.option("--sent/--no-sent", default=None, help="webhooks.message.sent, from v2.41.2 on.")
@click.option("--delivered/--no-delivered", default=None, help="webhooks.message.delivered.")
@click.option("--read/--no-read", default=None, help="webhooks.message.read.")
@click.option("--sent-status/--no-sent-status", default=None, help="The same as --sent, before.")
@click.option(
    "--callback-persist/--no-callback-persist",
    default=None,
    help="Keep notifications on disk until they are acknowledged.",
)
@click.option(
    "--max-concurrent-requests",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="How many notifications it sends at a time.",
)
@click.option(
    "--backoff-delay",
    type=selection.duration,
    metavar="DURATION",
    help="By how much each failure delays the next try: callback_backoff_delay_ms.",
)
@click.option(
    "--max-backoff-delay",
    type=selection.duration,
    metavar="DURATION",
    help="The longest delay: max_callback_backoff_delay_ms.",
)
@click.option(
    "--webhook-ca",
    metavar="FILE",
    type=FILE,
    help="Upload the internal CA (PEM) that has signed the router's certificate.",
)
@allow_http_option
@dry_run_option
@yes_option
@output.json_option
@plugins_dir
@with_config
@with_coreapp
def configure(
    config: Config,
    *,
    coreapp: Coreapp,
    webhook_url: str | None,
    router_url: str | None,
    source: str | None,
    webhook_ca: Path | None,
    allow_http: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **given: bool | float | None,
) -> None:
    """Set the callback, and how notifications are sent to it; what is not named stays.

    The difference is shown before anything is changed.
    """
    url = find_callback(config, whole=webhook_url, router_url=router_url, source=source)
    if url:
        require_https(url, what="the webhook URL", allow_http=allow_http)
    wanted = find_wanted(given, url=url)
    authorities = read_authorities(webhook_ca) if webhook_ca else b""
    if not (wanted or authorities):
        raise click.UsageError("Nothing is named that is to be changed: see --help.")
    before = coreapp.read_settings()
    require_known(before, wanted)
    changes = find_changes(before.values, wanted) + find_ca_change(coreapp, authorities)
    print_changes(changes, as_json=as_json)
    if not changes:
        output.note(f"There is nothing to change at {coreapp.url}.")
    elif not dry_run:
        require_consent(f"Change {count(changes)} of {coreapp.url}?", yes=yes)
        apply(coreapp, before, changes, authorities=authorities)


def find_callback(
    config: Config, *, whole: str | None, router_url: str | None, source: str | None
) -> str:
    """Return the callback that the options ask for; empty where they ask for none."""
    if whole and not (router_url or source):
        if whole.startswith(PLACES):
            return Secret(whole, Path.cwd()).resolve()
        if mask_callback(whole) != whole:
            output.note(
                "The callback holds credentials, which other processes see on a command line: "
                "--webhook-url env:NAME or file:PATH keeps them, and so does --source."
            )
        return whole
    if router_url and source and not whole:
        return make_callback(make_source(config, source), router=router_url)
    if whole or router_url or source:
        raise click.UsageError("Name --webhook-url, or --router-url and --source together.")
    return ""


def find_wanted(given: Mapping[str, bool | float | None], *, url: str) -> dict[str, object]:
    """Return what is to be set, by names with dots."""
    wanted: dict[str, object] = {"webhooks.url": url} if url else {}
    for option, value in given.items():
        if value is not None:
            # The reference gives these two as texts that hold milliseconds.
            is_delay = option.endswith("delay")
            wanted[NAMES[option]] = str(round(value * 1000)) if is_delay else value
    return wanted


def require_known(settings: Settings, wanted: Mapping[str, object]) -> None:
    """Return when this version of the Coreapp has the settings that are wanted.

    Raises:
        ConfigError: It is too old for webhooks.message.
    """
    switches = [name for name in wanted if name.startswith("webhooks.message.")]
    if switches and not has_switches(settings.version, settings.values):
        raise ConfigError(
            f"the Coreapp is {settings.version or 'of an unknown version'}, which has no "
            f"{switches[0]} (it came with v2.41.2): name --sent-status instead, for statuses "
            "that tell of a sent message"
        )


def find_ca_change(coreapp: Coreapp, authorities: bytes) -> list[Change]:
    """Return the change that an upload would make: none where the Coreapp has the same already."""
    if not authorities:
        return []
    old, new = describe_ca(coreapp.read_webhook_ca()), describe_ca(authorities)
    return [] if old == new else [Change(setting=WEBHOOK_CA, old=old, new=new)]


def describe_ca(authorities: bytes | None) -> str | None:
    """Return the words that tell one set of certificates from another."""
    if authorities is None:
        return None
    return f"SHA-256 {sha256(b''.join(authorities.split())).hexdigest()[:16]}"


def print_changes(changes: Sequence[Change], *, as_json: bool) -> None:
    """Print what is to become what."""
    shown = [change.as_dict() for change in changes]
    if as_json:
        output.print_json({"total": len(shown), "changes": shown})
    else:
        rows = [
            (change.setting, one["old"], one["new"], change.effect)
            for change, one in zip(changes, shown, strict=True)
        ]
        output.print_table(("setting", "old", "new", "takes effect"), rows)


def apply(
    coreapp: Coreapp, before: Settings, changes: Sequence[Change], *, authorities: bytes
) -> None:
    """Make the changes, and look whether they are there.

    Raises:
        RouterError: The Coreapp reads something else back than it was told.
    """
    wanted = {change.setting: change.new for change in changes if change.setting != WEBHOOK_CA}
    if len(wanted) < len(changes):  # first, lest a callback be called that is not trusted yet
        upload(coreapp, authorities)
    if wanted:
        coreapp.change_settings(nest(wanted))
        after = coreapp.read_settings()
        if left := find_changes(after.values, wanted):
            told = ", ".join(f"{one.setting} is {_tell(one.old)}" for one in left)
            raise RouterError(
                f"the Coreapp at {coreapp.url} took the change, but reads back otherwise: "
                f"{output.clean(told)}; look at its log, then run this again"
            )
        for one in find_side_effects(before.values, after.values, asked=wanted):
            output.note(f"{one.setting} became {_tell(one.new)}, too; it was {_tell(one.old)}.")
    output.note(f"Changed {count(changes)} of {coreapp.url}, as it reads back.")
    if names := [change.setting for change in changes if change.needs_restart]:
        output.note(f"Restart all nodes of the Coreapp, for: {', '.join(names)}")


def upload(coreapp: Coreapp, authorities: bytes) -> None:
    """Upload the CA, and look whether it is there.

    Raises:
        RouterError: The Coreapp reads another back, or none.
    """
    coreapp.upload_webhook_ca(authorities)
    new, found = describe_ca(authorities), describe_ca(coreapp.read_webhook_ca())
    if found != new:
        raise RouterError(
            f"the Coreapp at {coreapp.url} took the CA, but reads back otherwise: {WEBHOOK_CA} is "
            f"{_tell(found)} instead of {new}; nothing else was changed; look at its log, then run "
            "this again"
        )


def _tell(value: object) -> str:
    return output.as_cell(show(value))


def count(changes: Sequence[Change]) -> str:
    """Return how many there are, in words."""
    return "1 setting" if len(changes) == 1 else f"{len(changes)} settings"
