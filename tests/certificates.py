"""Certificates made on the spot: an authority that nobody else trusts, and what it has signed."""

from dataclasses import dataclass
from pathlib import Path

import trustme


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, each in a file."""

    certfile: Path
    keyfile: Path

    @property
    def options(self) -> tuple[str, ...]:
        """What `router serve` is given."""
        return ("--ssl-certfile", str(self.certfile), "--ssl-keyfile", str(self.keyfile))


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA of a test's own.

    Attributes:
        folder: Where its files are.
        certfile: Its own certificate.
    """

    folder: Path
    certfile: Path
    _ca: trustme.CA

    @classmethod
    def make(cls, folder: Path) -> "Authority":
        """Make one, in a new folder."""
        folder.mkdir()
        ca = trustme.CA()
        ca.cert_pem.write_to_path(str(folder / "ca.pem"))
        return cls(folder, folder / "ca.pem", ca)

    def issue(self, name: str = "127.0.0.1") -> Pair:
        """Issue a certificate for an address or a name."""
        made = self._ca.issue_cert(name)
        pair = Pair(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        pair.certfile.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
        made.private_key_pem.write_to_path(str(pair.keyfile))
        return pair
