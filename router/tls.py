"""Certificates: what a server of ours shows, whom it lets in, and whom a client of ours trusts."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from router import handshakes
from router.errors import ConfigError
from router.secrets import Secret

Password = Secret | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerTls:
    """What a server needs to be reached by HTTPS; all files are PEM.

    Attributes:
        certfile: Its certificate, followed by those between it and the CA's.
        keyfile: The private key; None where it is in ``certfile`` too.
        password: What the private key is encrypted with.
        ca_certs: The CAs of which a client must show a certificate; None lets everybody in.
        client_names: One of these must be in that certificate, as common name or alternative DNS
            name; empty lets in whoever the CAs have signed for.
    """

    certfile: Path
    keyfile: Path | None = None
    password: Password = None
    ca_certs: Path | None = None
    client_names: Sequence[str] = ()

    def make_context(self) -> ssl.SSLContext:
        """Return what a server is given.

        Raises:
            ConfigError: A file cannot be read, is not what it should be, or certificate and key do
                not belong together; names the file. Or clients are to have names, but need no
                certificate.
        """
        if self.client_names and self.ca_certs is None:
            raise ConfigError("names are demanded of clients, but no certificate: name its CAs")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        _require_readable(self.certfile, self.keyfile, self.ca_certs)
        self._load_chain(context)
        if self.ca_certs is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # see `trust`
            _load_authorities(context, self.ca_certs)
            handshakes.watch(context, names=self.client_names)
        return context

    def _load_chain(self, context: ssl.SSLContext) -> None:
        password = self.password.resolve() if self.password else ""
        key = self.keyfile or self.certfile
        try:
            # A callable, lest OpenSSL ask at the terminal of a service that has none.
            context.load_cert_chain(self.certfile, self.keyfile, password=lambda: password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigError(
                    f"the private key in {key} is not that of the certificate in {self.certfile}: "
                    "name the two files that were made together"
                ) from None
            _require_certificate(self.certfile)
            raise ConfigError(
                f"no private key can be read from {key}: it must be PEM, and where it is "
                "encrypted, its password must be given (router serve --ssl-keyfile-password)"
            ) from None


def trust(authorities: Path) -> ssl.SSLContext:
    """Return what makes a client trust servers with a certificate of these CAs, and no other.

    Raises:
        ConfigError: The file cannot be read, or holds no certificate in PEM.
    """
    _require_readable(authorities)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Not ssl.create_default_context: from Python 3.13 on it refuses CAs without key usage, as the
    # Coreapp's own one is, and those that Meta's documentation shows how to make.
    _load_authorities(context, authorities)
    return context


def trust_also(authorities: str) -> ssl.SSLContext:
    """Return what makes a client trust servers with a certificate of these CAs, or of the system's.

    Args:
        authorities: Certificates in PEM.

    Raises:
        ConfigError: They cannot be read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_default_certs()
    try:
        context.load_verify_locations(cadata=authorities)
    except (ssl.SSLError, ValueError):
        raise ConfigError("the CA holds no certificate that can be read: upload it again") from None
    return context


def read_authorities(file: Path) -> bytes:
    """Return the certificates in ``file``, to be uploaded as they are.

    Raises:
        ConfigError: The file cannot be read, holds no certificate in PEM, or a private key too.
    """
    _require_readable(file)
    _require_certificate(file)
    text = file.read_bytes()
    if b"PRIVATE KEY-----" in text:
        raise ConfigError(f"{file} holds a private key: name a file with certificates alone")
    return text


def _load_authorities(context: ssl.SSLContext, file: Path) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        raise ConfigError(f"{file} holds no certificate that can be read: it must be PEM") from None


def _require_certificate(file: Path) -> None:
    _load_authorities(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), file)


def _require_readable(*files: Path | None) -> None:
    for file in files:
        if file is not None:
            try:
                file.open("rb").close()
            except OSError as error:
                raise ConfigError(
                    f"the file {file} cannot be read: {error.strerror or error}"
                ) from None
