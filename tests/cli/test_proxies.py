"""The examples of reverse proxies keep their word, where a proxy is installed: nginx, Caddy."""

import hmac
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import httpx2
import pytest
import trustme

from router.cli.serve import find_port
from router.testing.certificates import Made, make_certificate
from router.tls import trust
from tests.cli.served import served

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
META = "client.webhooks.fbclientcerts.com"
SETTINGS = """
[sources.wa]
adapter = "whatsapp"
app_secrets = ["s3cret"]

[sources.other]
adapter = "whatsapp"
app_secrets = ["s3cret"]
"""
WRAPPING = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/router.conf;
}}
"""
LIMIT = 20.0  # seconds until a proxy listens

pytestmark = pytest.mark.engines("sqlite")


@pytest.fixture
def authority(tmp_path: Path) -> trustme.CA:
    """The CA that stands for Meta's."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "meta-outbound-api-ca-2025-12.pem")
    return authority


@pytest.fixture
def made(tmp_path: Path, authority: trustme.CA) -> Made:
    """The certificate of the proxy, where its example looks for it once its folder is replaced."""
    made = make_certificate(tmp_path / "made", "127.0.0.1", "router.example")
    shutil.copy(made.certfile, tmp_path / "router.pem")
    shutil.copy(made.keyfile, tmp_path / "router.key")
    (tmp_path / "router.toml").write_text(SETTINGS)
    return made


@contextmanager
def running(words: list[str], port: int, environ: dict[str, str]) -> Iterator[None]:
    """Run a proxy while the block lasts, from when on it listens."""
    with subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True) as process:
        try:
            end = time.monotonic() + LIMIT
            while True:
                try:
                    httpx2.get(f"http://127.0.0.1:{port}/", trust_env=False)
                except httpx2.ConnectError:
                    if process.poll() is not None:
                        assert process.stderr
                        pytest.fail(process.stderr.read())
                    assert time.monotonic() < end
                    time.sleep(0.05)
                except httpx2.TransportError:
                    break
                else:
                    break
            yield
        finally:
            process.terminate()


@contextmanager
def nginx(folder: Path, address: str, environ: dict[str, str]) -> Iterator[str]:
    """Run the example of nginx before the router at ``address``; yields its own address."""
    port = find_port("127.0.0.1")
    text = (EXAMPLES / "nginx.conf").read_text("utf-8")
    text = text.replace("/etc/nginx", str(folder)).replace("listen 443", f"listen 127.0.0.1:{port}")
    text = text.replace("server 127.0.0.1:8001;", "").replace(
        "127.0.0.1:8000", address.removeprefix("http://")
    )
    (folder / "router.conf").write_text(text)
    (folder / "nginx.conf").write_text(WRAPPING.format(folder=folder))
    words = ["nginx", "-p", str(folder), "-e", str(folder / "error.log")]
    words += ["-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*words, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    with running(words, port, environ):
        yield f"https://127.0.0.1:{port}"


@contextmanager
def caddy(folder: Path, address: str, environ: dict[str, str]) -> Iterator[str]:
    """Run the example of Caddy before the router at ``address``; yields its own address."""
    port = find_port("127.0.0.1")
    text = (EXAMPLES / "Caddyfile").read_text("utf-8")
    text = text.replace("/etc/caddy", str(folder)).replace(" 127.0.0.1:8001", "")
    text = text.replace("127.0.0.1:8000", address.removeprefix("http://"))
    text = text.replace("router.example {", f"https://router.example:{port} {{\n\tbind 127.0.0.1")
    text = text.replace(
        "{\n\tservers", "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers", 1
    )
    (folder / "Caddyfile").write_text(text)
    words = ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    homes = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with running(words, port, environ | homes):
        yield f"https://127.0.0.1:{port}"


@pytest.mark.parametrize("proxy", [nginx, caddy], ids=lambda proxy: proxy.__name__)
def test_meta_is_let_in_and_nobody_else_where_meta_posts(
    proxy: Callable[..., AbstractContextManager[str]],
    environ: dict[str, str],
    made: Made,
    authority: trustme.CA,
    tmp_path: Path,
) -> None:
    """By the common name; other sources need no certificate, and probes are not for strangers."""
    if shutil.which(proxy.__name__) is None:
        pytest.skip(f"{proxy.__name__} is not here")
    body = b'{"entry": []}'
    signature = hmac.digest(b"s3cret", body, "sha256").hex()
    headers = {"x-hub-signature-256": f"sha256={signature}", "host": "router.example"}

    def post(url: str, name: str | None, content: bytes = body) -> int:
        known = trust(made.ca)
        if name is not None:
            authority.issue_cert(name, common_name=name).configure_cert(known)
        with httpx2.Client(verify=known, trust_env=False) as http:
            there = {"sni_hostname": "router.example"}
            return http.post(url, content=content, headers=headers, extensions=there).status_code

    with served(environ) as address, proxy(tmp_path, address, environ) as front:
        assert post(f"{front}/webhooks/wa", META) == 200
        assert post(f"{front}/webhooks/other", None) == 200
        for name in (None, "other.example", f"{META}.evil.example", f"evil{META}"):
            assert post(f"{front}/webhooks/wa", name) == 403
        too_large = post(f"{front}/webhooks/other", None, b"x" * 5 * 1024 * 1024)
        assert too_large in (413, 502)  # the latter from Caddy 2.6
        assert post(f"{front}/livez", None) == 404
