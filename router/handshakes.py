"""Handshakes with clients that show a certificate: whose is let in, and word of who is not."""

import logging
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PERIOD = 60.0  # seconds in which one reason is told once: strangers knock at every port
MOST = 100  # reasons in that time; names are the strangers' choice, and there is no end of them

logger = logging.getLogger("router.tls")


def watch(
    context: ssl.SSLContext,
    *,
    names: Sequence[str] = (),
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Refuse clients whose certificate has none of ``names``, and log who is refused, and why.

    Whoever is refused never gets as far as HTTP, so that nothing else would tell of it.

    Args:
        context: Of a server; it demands certificates.
        names: Each may be the common name or an alternative DNS name; none lets in whoever is
            signed for.
        monotonic: Seconds of a clock that only goes forward.
    """
    wanted = frozenset(name.lower() for name in names)
    told: dict[str, float] = {}

    class Watched(ssl.SSLObject):
        """One connection."""

        def do_handshake(self) -> None:
            try:
                super().do_handshake()
                _require_name(self.getpeercert() or {}, wanted)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise  # there is more to come
            except ssl.SSLError as error:
                self._tell(error)
                raise

        def _tell(self, error: ssl.SSLError) -> None:
            kind = getattr(error, "verify_message", None) or getattr(error, "reason", None)
            reason = str(kind or error.strerror)
            now = monotonic()
            while told and now - next(iter(told.values())) >= PERIOD:  # the oldest come first
                del told[next(iter(told))]
            if reason not in told and len(told) < MOST:
                told[reason] = now
                logger.warning(
                    "a client was refused, before it could send anything: %s (the like of it is"
                    " told once a minute)",
                    reason,
                )

    context.sslobject_class = Watched


def read_names(certificate: Mapping[str, Any]) -> list[str]:
    """Return the common name and the alternative DNS names in a certificate.

    Args:
        certificate: As `ssl.SSLObject.getpeercert` returns it.
    """
    subject = [pair for part in certificate.get("subject", ()) for pair in part]
    pairs = [*subject, *certificate.get("subjectAltName", ())]
    return [name for kind, name in pairs if kind in ("commonName", "DNS")]


def _require_name(certificate: Mapping[str, Any], wanted: frozenset[str]) -> None:
    found = read_names(certificate)
    if wanted and wanted.isdisjoint(name.lower() for name in found):
        named = ", ".join(map(repr, dict.fromkeys(found))) or "nobody"
        raise ssl.SSLCertVerificationError(
            1, f"its certificate is that of {named}, which --ssl-client-name does not name"
        )
