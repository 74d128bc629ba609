"""`router simulate`: the traffic of a made-up shop, or a whole Coreapp that sends it."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from router.cli import output
from router.cli.selection import Number, duration
from router.cli.serve import run
from router.cli.simulation import Traffic, advise, host, load, print_summary
from router.errors import RouterError
from router.secrets import Secret
from router.testing.certificates import make_certificate
from router.testing.coreapp.coreapp import Coreapp
from router.testing.coreapp.endpoint import write_basic
from router.testing.coreapp.ledger import Ledger
from router.testing.coreapp.routes import Rules
from router.testing.shop.facts import Shape
from router.testing.shop.people import LARGEST
from router.testing.shop.shop import Mix, Shop
from router.tls import ServerTls, read_authorities

_SHARE = Number(0, 1)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.option("--to", "url", metavar="URL", help="Send traffic there: http:// or https://.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Instead: be a Coreapp, whose settings API listens at this port, and which sends to the"
    " callback that is set there. SIGUSR1 restarts it.",
)
@click.option("--rate", default=200.0, show_default=True, type=Number(0, min_open=True))
@click.option(
    "--for", "seconds", metavar="TIME", type=duration, help="Such as 60s; else to Ctrl-C."
)
@click.option("--max-notifications", "most", type=click.IntRange(1), help="Stop after so many.")
@click.option("--grace", default="30s", show_default=True, type=duration, help="For last answers.")
@click.option("--shape", type=click.Choice(["cloud", "onprem"]), help="Default: cloud with --to.")
@click.option("--customers", default=500, show_default=True, type=click.IntRange(1, LARGEST))
@click.option("--seed", type=click.IntRange(0), help="Equal seeds make equal traffic.")
@click.option("--duplicates", default=0.02, show_default=True, type=_SHARE, help="Sent twice.")
@click.option("--reorder", default=0.05, show_default=True, type=_SHARE, help="Sent late.")
@click.option("--batch", default=0.05, show_default=True, type=_SHARE, help="With several events.")
@click.option("--batch-size", default=10, show_default=True, type=click.IntRange(2, 1000))
@click.option("--secret", metavar="SECRET", help="Signs: env:NAME, file:PATH, or itself.")
@click.option("--user", metavar="NAME:SECRET", help="Basic credentials.")
@click.option("--token", metavar="SECRET", help="A bearer token.")
@click.option("--ca", type=_FILE, help="PEM that is trusted beside the system's authorities.")
@click.option("--connections", default=64, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--timeout", default="20s", show_default=True, type=duration, help="For an answer.")
@click.option(
    "--speed",
    default=1.0,
    show_default=True,
    type=Number(0, min_open=True),
    help="How many times as fast retries follow, and expire.",
)
@click.option(
    "--ledger",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A new file, for each notification's fate.",
)
@click.option("--certfile", type=_FILE, help="With --port: HTTPS with this certificate.")
@click.option("--keyfile", type=_FILE, help="Its key.")
@click.option(
    "--https", is_flag=True, help="With --port: HTTPS with a certificate made on the spot."
)
@click.option("--allow-http", is_flag=True, help="With --port: send to callbacks without TLS, too.")
@output.json_option
def simulate(url: str | None, port: int | None, **given: Any) -> None:  # noqa: ANN401  # options
    """Send what a made-up shop on WhatsApp would cause, and keep account of it.

    What is not answered 200 is sent again, after 3, 6, 9 … seconds, for 24 hours. In the end, and
    on Ctrl-C, the sums are printed: exit 0 if all was acknowledged, 3 if not.

    \b
    router simulate --to http://127.0.0.1:8000/webhooks/wa --secret env:WA_SECRET --for 60s
    router simulate --port 9090 --allow-http
    """  # noqa: D301  # the character itself tells click to leave the lines as they are
    if (url is None) == (port is None):
        raise click.UsageError("Say where to send with --to URL, or be a Coreapp with --port PORT.")
    _refuse_others(given, is_coreapp=port is not None)
    seed = given["seed"] if given["seed"] is not None else secrets.randbits(32)
    shop = _make_shop(given, seed=seed, default="onprem" if url is None else "cloud")
    with _opening(given["ledger"]) as file:
        ledger = Ledger(file, keeps=False)
        if url is not None:
            _load(shop, url, given, ledger=ledger)
        else:
            _host(shop, port or 0, given, ledger=ledger)
    summary = ledger.summarise()
    print_summary(summary, seed=seed, as_json=given["as_json"])
    if advice := advise(summary):
        output.note(advice)
    if summary.acknowledged < summary.notifications:
        raise click.exceptions.Exit(3)


_WITH_TO = ("user", "token", "ca")
_WITH_PORT = ("certfile", "keyfile", "https", "allow_http")


def _refuse_others(given: dict[str, Any], *, is_coreapp: bool) -> None:
    """Refuse the options that mean nothing here, rather than leave them without effect."""
    others, needed = (_WITH_TO, "--to") if is_coreapp else (_WITH_PORT, "--port")
    for name in others:
        if given[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} needs {needed}.")
    if given["keyfile"] and not given["certfile"]:
        raise click.UsageError("--keyfile needs --certfile.")
    if given["https"] and given["certfile"]:
        raise click.UsageError("Either --https or --certfile.")


@contextmanager
def _opening(path: Path | None) -> Iterator[BinaryIO | None]:
    """Open a file for the ledger: a new one, since what is there may be the proof of another run.

    One that nothing was written to does not outlive a failure, so that it can be tried again.
    """
    if path is None:
        yield None
        return
    is_new = path.is_file() or not path.exists()  # else a pipe or a device
    try:
        file = path.open("xb" if is_new else "wb")
    except FileExistsError:
        raise RouterError(
            f"{path} exists, and a ledger takes the place of no file: name another with --ledger,"
            " or remove that one"
        ) from None
    except OSError as error:
        raise RouterError(f"the ledger cannot be written: {error}") from error
    with file:
        try:
            yield file
        except BaseException:
            if is_new and file.tell() == 0:
                path.unlink()
            raise


def _make_shop(given: dict[str, Any], *, seed: int, default: Shape) -> Shop:
    mix = Mix(
        duplicates=given["duplicates"],
        reorder=given["reorder"],
        batch=given["batch"],
        batch_size=given["batch_size"],
    )
    return Shop(
        shape=given["shape"] or default,
        customers=given["customers"],
        seed=seed,
        mix=mix,
        pace=1 / given["rate"],
    )


def _make_traffic(given: dict[str, Any]) -> Traffic:
    return Traffic(
        rate=given["rate"], seconds=given["seconds"], most=given["most"], grace=given["grace"]
    )


def _make_rules(given: dict[str, Any], *, allows_http: bool) -> Rules:
    secret = Secret(given["secret"]).resolve().encode() if given["secret"] else None
    return Rules(
        timeout=given["timeout"], speed=given["speed"], allows_http=allows_http, secret=secret
    )


def _load(shop: Shop, url: str, given: dict[str, Any], *, ledger: Ledger) -> None:
    work = load(
        shop,
        url,
        _make_traffic(given),
        rules=_make_rules(given, allows_http=True),
        connections=given["connections"],
        ledger=ledger,
        headers=_make_headers(given),
        extra_ca=read_authorities(given["ca"]).decode("ascii", "ignore") if given["ca"] else "",
    )
    run(work)


def _make_headers(given: dict[str, Any]) -> dict[str, str]:
    if given["user"]:
        name, colon, secret = given["user"].partition(":")
        if not colon:
            raise click.UsageError("--user is NAME:SECRET.")
        return write_basic(name, Secret(secret).resolve())
    if given["token"]:
        return {"authorization": f"Bearer {Secret(given['token']).resolve()}"}
    return {}


def _host(shop: Shop, port: int, given: dict[str, Any], *, ledger: Ledger) -> None:
    with tempfile.TemporaryDirectory(prefix="router-simulate-") as folder:
        certificate, ca = None, None
        if given["certfile"]:
            certificate = ServerTls(certfile=given["certfile"], keyfile=given["keyfile"])
        elif given["https"]:
            made = make_certificate(Path(folder))
            certificate = ServerTls(certfile=made.certfile, keyfile=made.keyfile)
            ca = made.ca
        coreapp = Coreapp(
            port=port,
            certificate=certificate,
            shop=shop,
            rules=_make_rules(given, allows_http=given["allow_http"]),
            ledger=ledger,
        )
        run(host(coreapp, _make_traffic(given), tell=lambda started: _tell(started, ca)))


def _tell(coreapp: Coreapp, ca: Path | None) -> None:
    output.note(f"A Coreapp listens at {coreapp.url}")
    output.note(f"  log in as {coreapp.username} with {coreapp.password}")
    if ca is not None:
        output.note(f"  its certificate was signed by {ca}")
    output.note("Traffic flows once webhooks.url is set; Ctrl-C ends it.")
