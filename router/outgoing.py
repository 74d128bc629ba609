"""Requests to somebody else's API, and why one failed, in words that say what to do."""

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2

from router import bodies
from router.errors import ConfigError, Refused, RouterError, Unreadable
from router.masks import HIDDEN, mask_callback

TIMEOUT = 30.0  # seconds that each step of a request may take
TRUST_IT = "name the CA that has signed it with --cacert FILE"
MAX_PORT = 65_535
MAX_QUOTED = 300  # characters of somebody else's answer


def require_https(url: str, *, what: str, allow_http: bool) -> httpx2.URL:
    """Return ``url``, which is to be asked, or to be made known to those who will ask it.

    Args:
        url: What somebody wrote.
        what: What it is, for the message.
        allow_http: Whether it may be HTTP.

    Raises:
        ConfigError: It is no URL of a host, or not HTTPS.
    """
    try:
        found = httpx2.URL(url)
    except httpx2.InvalidURL:
        found = httpx2.URL("")
    if found.scheme not in ("http", "https") or not _has_place(found):
        raise ConfigError(
            f"{what} {mask_callback(url)!r} is no URL: "
            "write it in full, such as https://host.example:9090"
        )
    if found.scheme == "http" and not allow_http:
        raise ConfigError(
            f"{what} {mask_callback(url)} is not HTTPS, so that secrets and messages would be sent "
            "readable for everybody on the way: write https://, or add --allow-http where the "
            "network is safe"
        )
    return found


def _has_place(url: httpx2.URL) -> bool:
    """Whether a host that can be looked up is named, and no port that there is not."""
    host = url.host  # httpx2 escapes what no host holds, and has checked an IPv6 address
    is_host = ":" in host or re.fullmatch(r"[\w.-]+", host) is not None
    return is_host and (url.port is None or 0 < url.port <= MAX_PORT)


def is_here(url: str) -> bool:
    """Whether ``url`` leads to this machine, where no proxy finds it."""
    try:
        host = httpx2.URL(url).host
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except (httpx2.InvalidURL, ValueError):
        return False


def explain_tls(error: BaseException, *, url: str, advice: str = TRUST_IT) -> str:
    """Return why no trusted connection came about; empty where that is not what happened.

    Args:
        error: What happened.
        url: What was asked.
        advice: What to do where the certificate is not trusted.
    """
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return ""
    where = mask_callback(url)
    if isinstance(cause, ssl.SSLCertVerificationError):
        reason = cause.verify_message.rstrip(".")
        if cause.verify_code in _OF_ANOTHER_NAME:
            return f"the certificate at {where} is for another name: {reason}"
        if cause.verify_code == _EXPIRED:
            return f"the certificate at {where} has expired: renew it there"
        return f"the certificate at {where} is not trusted ({reason}): {advice}"
    if cause.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
        return f"{where} does not speak TLS: it is perhaps plain HTTP, or another port"
    return f"TLS with {where} failed: {cause.reason or cause}"


_EXPIRED = (
    10  # X509_V_ERR_CERT_HAS_EXPIRED of OpenSSL's x509_vfy.h; the next are HOST and IP_ADDRESS
)
_OF_ANOTHER_NAME = (62, 64)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)  # its text would show the secrets
class Outgoing:
    """One API that is asked.

    Attributes:
        url: Where it is, as `require_https` has let it pass; credentials in it are sent as Basic.
        what: What it is called in messages.
        trusted: Whose certificates it may show; None trusts whom the system trusts.
        trust_advice: What to do where it shows another's.
        headers: What goes with each request, credentials above all.
        secrets: What is never repeated, should an answer hold it.
        timeout: Seconds that each step of a request may take.
    """

    url: str
    what: str
    trusted: ssl.SSLContext | None = None
    trust_advice: str = TRUST_IT
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    timeout: float = TIMEOUT

    def ask(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        """Return the answer, whatever its status; redirections are not followed.

        Args:
            method: The HTTP method.
            path: What is put behind the URL.
            json: What is sent as JSON.
            body: What is sent as it is.
            headers: More headers, or others instead of the usual ones.

        Raises:
            RouterError: There is none; says why, and what to do.
        """
        sent = dict(self.headers) | dict(headers or {})
        if json is not None:
            body, sent["content-type"] = bodies.encode(json), "application/json"
        try:
            with httpx2.Client(
                verify=self.trusted or True, timeout=self.timeout, trust_env=not is_here(self.url)
            ) as client:
                return client.request(method, f"{self.url}{path}", content=body, headers=sent)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            # Without the cause, whose request holds the credentials.
            raise self._explain(error, method=method) from None

    def read(self, answer: httpx2.Response) -> object:
        """Return what a successful answer holds.

        Raises:
            RouterError: It is not JSON.
        """
        try:
            return bodies.decode(answer.content)
        except Unreadable:
            kind = answer.headers.get("content-type", "nothing").partition(";")[0]
            raise RouterError(
                f"{self.what} at {mask_callback(self.url)} answered {answer.status_code} with "
                f"{kind} instead of JSON: is this the address of the API?"
            ) from None

    def read_errors(self, answer: httpx2.Response) -> dict[str, object]:
        """Return what an answer holds that tells of a failure; empty where it is no such object."""
        try:
            found = bodies.decode(answer.content)
        except Unreadable:
            return {}
        return found if isinstance(found, dict) else {}

    def refuse(self, answer: httpx2.Response, *, said: str, advice: str) -> Refused:
        """Return the error that an answer stands for.

        Args:
            answer: The answer.
            said: What it says, in its own words.
            advice: What to do.
        """
        quoted = f" ({self.clean(said)})" if said else ""
        return Refused(
            f"{self.what} at {mask_callback(self.url)} answered "
            f"{answer.status_code} {answer.reason_phrase}".rstrip()
            + f"{quoted}: {advice}",
            status=answer.status_code,
        )

    def clean(self, text: str) -> str:
        """Return the beginning of ``text`` without our secrets, and without control characters."""
        for secret in filter(None, self.secrets):
            text = text.replace(secret, HIDDEN)
        text = "".join(one if one.isprintable() else " " for one in text).strip()
        return text if len(text) <= MAX_QUOTED else f"{text[:MAX_QUOTED]}…"

    def _explain(self, error: Exception, *, method: str) -> RouterError:
        where = mask_callback(self.url)
        if said := explain_tls(error, url=self.url, advice=self.trust_advice):
            return RouterError(said)
        if isinstance(error, httpx2.ConnectTimeout):
            said = f"{where} cannot be reached within {self.timeout:g} s: check host and port"
        elif isinstance(error, httpx2.TimeoutException):
            said = f"{self.what} at {where} gave no answer within {self.timeout:g} s"
            changed = (
                ": try again" if method == "GET" else ": look whether it was done, then try again"
            )
            said += changed
        elif isinstance(error, httpx2.ConnectError):
            said = f"nothing answers at {where} ({self.clean(str(error))}): check host and port"
        else:
            reason = self.clean(str(error)) or type(error).__name__
            advice = "try again, and look at its log"
            if self.url.startswith("http:"):
                advice = "does it take HTTPS alone? Write https://"
            said = f"{self.what} at {where} broke off ({reason}): {advice}"
        return RouterError(said)
