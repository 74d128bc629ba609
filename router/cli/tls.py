"""The options about certificates: what a server of ours shows, and whom a client of ours trusts."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from router.cli.references import PLACE, REFERENCE
from router.secrets import Secret
from router.tls import ServerTls

T = TypeVar("T")

FILE = click.Path(path_type=Path)


def cacert_option(envvar: str) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """Give a command ``--cacert``, which may stand in the environment, too."""
    return click.option(
        "--cacert",
        metavar="FILE",
        type=FILE,
        envvar=envvar,
        help="Trust certificates that these CAs (PEM) have signed, and no other.",
    )


_OPTIONS = [
    click.option(
        "--ssl-certfile",
        "certfile",
        metavar="FILE",
        type=FILE,
        envvar="ROUTER_SSL_CERTFILE",
        help="Serve HTTPS with this certificate (PEM), followed by the intermediate ones.",
    ),
    click.option(
        "--ssl-keyfile",
        "keyfile",
        metavar="FILE",
        type=FILE,
        envvar="ROUTER_SSL_KEYFILE",
        help="Its private key (PEM); default: it is in the same file.",
    ),
    click.option(
        "--ssl-keyfile-password",
        "keyfile_password",
        type=REFERENCE,
        metavar=PLACE,
        envvar="ROUTER_SSL_KEYFILE_PASSWORD",
        help="What the private key is encrypted with.",
    ),
    click.option(
        "--ssl-ca-certs",
        "ca_certs",
        metavar="FILE",
        type=FILE,
        envvar="ROUTER_SSL_CA_CERTS",
        help="Take only clients with a certificate of these CAs (PEM); probes need one too.",
    ),
    click.option(
        "--ssl-client-name",
        "client_names",
        metavar="NAME",
        multiple=True,
        envvar="ROUTER_SSL_CLIENT_NAME",
        help="Of those only clients whose certificate has this common or DNS name; may be given"
        " several times.",
    ),
]


def with_tls(command: Callable[..., T]) -> Callable[..., T]:
    """Give a command the options of an HTTPS server; it gets them as ``tls``, None for HTTP."""

    @functools.wraps(command)
    def run(
        *args: object,
        certfile: Path | None,
        keyfile: Path | None,
        keyfile_password: Secret | None,
        ca_certs: Path | None,
        client_names: tuple[str, ...],
        **kwargs: object,
    ) -> T:
        if certfile is None:
            if keyfile or keyfile_password or ca_certs or client_names:
                raise click.UsageError(
                    "There is no HTTPS without a certificate: add --ssl-certfile FILE."
                )
            return command(*args, tls=None, **kwargs)
        if client_names and ca_certs is None:
            raise click.UsageError(
                "Nobody shows a name without a certificate: add --ssl-ca-certs FILE."
            )
        tls = ServerTls(
            certfile=certfile,
            keyfile=keyfile,
            password=keyfile_password,
            ca_certs=ca_certs,
            client_names=client_names,
        )
        return command(*args, tls=tls, **kwargs)

    for option in reversed(_OPTIONS):
        run = option(run)
    return run
