"""Certificates made on the spot, by an authority that nobody trusts until its own is uploaded."""

import importlib
from dataclasses import dataclass
from pathlib import Path

from router.errors import RouterError


@dataclass(frozen=True, slots=True)
class Made:
    """A server's certificate, and what proves it.

    Attributes:
        certfile: The certificate, with its chain, in PEM.
        keyfile: Its key, in PEM.
        ca: The authority's own certificate, in PEM: what a client is given to trust.
    """

    certfile: Path
    keyfile: Path
    ca: Path


def make_certificate(folder: Path, *names: str) -> Made:
    """Make an authority and a server's certificate in ``folder``.

    Args:
        folder: Where the three files go; made if need be.
        *names: Host names and addresses that it is for; default: this machine, as localhost,
            127.0.0.1 and ::1.

    Raises:
        RouterError: The extra that makes certificates is not installed.
    """
    try:
        # Here alone: it is an extra, and brings 12 MB that no other command has a use for.
        trustme = importlib.import_module("trustme")
    except ImportError:
        raise RouterError(
            "no certificate can be made, since trustme is not installed: install the router with"
            ' its extra "testing", or give a certificate of your own'
        ) from None
    folder.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA()
    issued = authority.issue_cert(*(names or ("localhost", "127.0.0.1", "::1")))
    made = Made(folder / "server.pem", folder / "server.key", folder / "ca.pem")
    for number, part in enumerate(issued.cert_chain_pems):
        part.write_to_path(made.certfile, append=number > 0)
    made.keyfile.touch(mode=0o600)
    issued.private_key_pem.write_to_path(made.keyfile)
    authority.cert_pem.write_to_path(made.ca)
    return made
