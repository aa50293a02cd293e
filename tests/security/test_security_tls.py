"""The server speaks TLS itself when it is given a certificate, and given an authority only to clients of that."""

from __future__ import annotations

import base64
import datetime
import ssl
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pymongo import MongoClient

from fhir_server.cli.faults import CannotRun
from fhir_server.cli.tls import tls_options
from fhir_server.config import Settings
from tests.running_server import RunningServer, environment, running_server
from tests.security.callers import Login


def certificate(folder: Path, name: str) -> Path:
    """A key and a certificate that it has signed itself, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(named)
        .issuer_name(named)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path = folder / f"{name}.pem"
    path.write_bytes(pem + made.public_bytes(serialization.Encoding.PEM))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def server(
    mongodb_uri: str, mongodb: MongoClient[dict[str, object]], folder: Path, login: Login
) -> Iterator[RunningServer]:
    name = f"test_{uuid4().hex}"
    files = {"FHIR_TLS_CERTIFICATE": "server", "FHIR_TLS_CLIENT_CA": "client"}
    own = {setting: str(certificate(folder, file)) for setting, file in files.items()}
    own["FHIR_ISSUERS"] = str(login.write(folder))
    with running_server(
        environment(folder, FHIR_MONGODB_URI=mongodb_uri, FHIR_MONGODB_DATABASE=name, **own)
    ) as started:
        yield started
    mongodb.drop_database(name)


@pytest.fixture(scope="module")
def login() -> Login:
    return Login()


def trusting(folder: Path, client: str | None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=str(folder / "server.pem"))
    if client is not None:
        made.load_cert_chain(folder / f"{client}.pem")
    return made


def bound_to(login: Login, thumbprint: str) -> dict[str, str]:
    token = login.token("user/Patient.rs", organization="h1", cnf={"x5t#S256": thumbprint})
    return {"authorization": f"Bearer {token}"}


def test_a_token_that_is_bound_to_a_certificate_counts_with_that_one_alone(
    server: RunningServer, folder: Path, login: Login
) -> None:
    base = server.base.replace("127.0.0.1", "localhost")
    made = x509.load_pem_x509_certificate((folder / "client.pem").read_bytes()).fingerprint(hashes.SHA256())
    own = base64.urlsafe_b64encode(made).rstrip(b"=").decode()
    with httpx.Client(verify=trusting(folder, "client")) as client:
        assert client.get(f"{base}/Patient", headers=bound_to(login, own)).status_code == 200
        refused = client.get(f"{base}/Patient", headers=bound_to(login, "A" * 43))
        assert refused.status_code == 401
        assert "another client certificate" in refused.headers["www-authenticate"]


def test_only_clients_of_the_authority_are_let_in_and_only_by_tls(
    server: RunningServer, folder: Path, login: Login
) -> None:
    base = server.base.replace("127.0.0.1", "localhost")
    headers = {"authorization": f"Bearer {login.token('user/Patient.rs', organization='h1')}"}
    answer = httpx.get(f"{base}/Patient", verify=trusting(folder, "client"), headers=headers)
    assert answer.status_code == 200
    assert answer.json()["link"][0]["url"].startswith("https://localhost:")
    assert "strict-transport-security" in answer.headers
    certificate(folder, "stranger")
    for client in (None, "stranger"):
        with pytest.raises(httpx.TransportError):
            httpx.get(f"{base}/Patient", verify=trusting(folder, client))
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{base.replace('https', 'http')}/Patient")


def test_files_that_do_not_fit_are_told_before_anything_starts(folder: Path) -> None:
    (folder / "none.pem").write_text("nothing")
    for settings, why in (
        (Settings(tls_certificate=folder / "none.pem"), "(?i)pem"),
        (Settings(tls_certificate=folder / "not-there.pem"), "No such file"),
        (Settings(tls_key=folder / "none.pem"), "need FHIR_TLS_CERTIFICATE"),
    ):
        with pytest.raises(CannotRun, match=why):
            tls_options(settings)
