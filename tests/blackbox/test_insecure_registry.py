"""A registry with a self-signed certificate is used only if the settings of the machine name it (fault F11)."""

from __future__ import annotations

import json
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

from tests.support.command_line import answering, buildsys, http_answer, refused, run, write


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to create a certificate with")
    words = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    names = ("-subj", "/CN=x.test", "-addext", "subjectAltName=IP:127.0.0.1")
    done = run(tmp_path, openssl, *words, *names, "-keyout", "key.pem", "-out", "cert.pem")
    assert done.code == 0, done.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    return context


def registry_check(project: Path, registry: str, **given: Any) -> tuple[str, str]:
    """Return state and finding of doctor's check of the registry."""
    done = buildsys(project, "doctor", "--json", "--registry", f"{registry}/x", PATH="/nonexistent", **given)
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    return checks["registry"]["state"], checks["registry"]["found"]


def test_registry_answers_by_https_only_if_the_settings_name_it(project: Path, tls: ssl.SSLContext) -> None:
    missing = http_answer(b"", status="404 Not Found")
    with answering(missing, tls=tls) as server:
        host = f"127.0.0.1:{server.port}"
        assert registry_check(project, host)[0] == "error"
        write(project, "buildsys.settings.yaml", f"registries: {{insecure: ['{host}']}}\n")
        assert registry_check(project, host) == ("ok", f"`{host}/x` is reachable")
        assert registry_check(project, host, BUILDSYS_REGISTRIES_INSECURE="")[0] == "error"
        done = buildsys(project, "plan", "--json", BUILDSYS_REGISTRY=f"{host}/x")
    assert done.code == 0, done.output
    assert {each["action"] for each in json.loads(done.stdout)["nodes"]} == {"build"}


def test_registry_on_loopback_is_asked_by_https_where_it_speaks_only_that(
    project: Path, tmp_path: Path, tls: ssl.SSLContext
) -> None:
    missing = http_answer(b"", status="404 Not Found")
    trusted = str(tmp_path / "cert.pem")
    with answering(missing, tls=tls) as server:
        host = f"127.0.0.1:{server.port}"
        assert registry_check(project, host, SSL_CERT_FILE=trusted) == ("ok", f"`{host}/x` is reachable")
        done = buildsys(project, "plan", "--json", BUILDSYS_REGISTRY=f"{host}/x", SSL_CERT_FILE=trusted)
        assert done.code == 0, done.output
        refused(
            buildsys(project, "plan", BUILDSYS_REGISTRY=f"{host}/x"),
            "certificate is not trusted",
            "registries: {insecure: [...]}",
            code=5,
        )


def test_name_that_is_not_a_registry_is_refused_at_its_location(project: Path) -> None:
    write(project, "buildsys.settings.yaml", "registries: {insecure: ['https://registry.example.com']}\n")
    refused(buildsys(project, "variables"), "--> buildsys.settings.yaml:1:", "`registries.insecure`", "host and port")
