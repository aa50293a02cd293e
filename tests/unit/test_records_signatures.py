"""Signatures of files: verified with the certificate they carry, told, and never a reason to refuse."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from lxml import etree
from records_desk import Desk
from records_sources import FORMATS, dossier, health_record, person, total
from signxml.algorithms import DigestAlgorithm, SignatureConstructionMethod, SignatureMethod
from signxml.signer import XMLSigner

from fhir_server.config import Settings
from fhir_server.records import signatures
from fhir_server.records.importing import import_records
from fhir_server.records.signatures import signature_notes
from fhir_server.records.signers import CertificateFault, Signers, signers_of
from fhir_server.records.source import Problem

KEY = rsa.generate_private_key(65537, 2048)
LONG_AGO = datetime(2019, 1, 1, tzinfo=UTC)


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def certificate(name: str, key: Any, issuer: str, signer: Any, is_authority: bool) -> x509.Certificate:
    made = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(LONG_AGO).not_valid_after(LONG_AGO + timedelta(days=365))
    if is_authority:
        usage = dict.fromkeys(USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        made = made.add_extension(x509.KeyUsage(**usage), critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    return made.sign(signer, hashes.SHA256())


USAGES = (
    "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
    "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
)  # fmt: skip
ROOT_KEY, STEP_KEY, OTHER_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
ROOT = certificate("Cơ quan gốc (mẫu)", ROOT_KEY, "Cơ quan gốc (mẫu)", ROOT_KEY, True)
STEP = certificate("Cơ quan cấp (mẫu)", STEP_KEY, "Cơ quan gốc (mẫu)", ROOT_KEY, True)
CERTIFICATE = certificate("Trạm Y tế xã (mẫu)", KEY, "Cơ quan cấp (mẫu)", STEP_KEY, False)
STRANGER = certificate("Cơ quan cấp (mẫu)", OTHER_KEY, "Cơ quan cấp (mẫu)", OTHER_KEY, True)


class OldSigner(XMLSigner):
    """Signs with SHA-1, as programs of before 2026 do."""

    def check_deprecated_methods(self) -> None:
        pass


def signed(body: bytes, slot: str, sha1: bool = False, id: str | None = None) -> bytes:
    """The file with a signature of the whole, or of the element with an Id, within its slot."""
    root = etree.fromstring(body)
    place = next(root.iter(slot))
    place.text = None
    namespace = "http://www.w3.org/2000/09/xmldsig#"
    etree.SubElement(place, f"{{{namespace}}}Signature", {"Id": "placeholder"}, {"ds": namespace})
    signer = (OldSigner if sha1 else XMLSigner)(
        SignatureConstructionMethod.enveloped,
        SignatureMethod.RSA_SHA1 if sha1 else SignatureMethod.RSA_SHA256,
        DigestAlgorithm.SHA1 if sha1 else DigestAlgorithm.SHA256,
    )
    reference = [f"#{id}"] if id else None
    return bytes(etree.tostring(signer.sign(root, key=KEY, cert=[CERTIFICATE, STEP], reference_uri=reference)))


def notes(body: bytes, name: str = "bhxh", signers: Signers | None = None) -> list[Problem]:
    container = FORMATS.by_name[name].xml
    assert container is not None
    stream = io.BytesIO(body)
    found = signature_notes(stream, len(body), container, signers)
    assert stream.tell() == 0
    return found


def rules(body: bytes, name: str = "bhxh") -> list[str]:
    return [one.rule for one in notes(body, name)]


@pytest.fixture(scope="module")
def whole() -> bytes:
    return signed(dossier(total(), total(MA_LK="LK2")), "CHUKYDONVI")


def test_a_signature_of_the_whole_file_holds_and_its_signer_is_named(whole: bytes) -> None:
    (told,) = notes(whole)
    assert (told.rule, told.severity, told.found) == ("signature-valid", "information", "Trạm Y tế xã (mẫu)")


def test_a_file_that_was_changed_after_it_was_signed_is_told(whole: bytes) -> None:
    (told,) = notes(whole.replace(b"20260302", b"20260303", 1))
    assert (told.rule, told.severity) == ("signature-invalid", "warning")
    assert told.found == "Trạm Y tế xã (mẫu)"


def test_sha_1_is_verified_and_told() -> None:
    assert rules(signed(dossier(total()), "CHUKYDONVI", sha1=True)) == ["signature-valid", "signature-sha1"]


def test_a_signature_on_something_else_than_the_records_says_nothing_of_them() -> None:
    body = dossier(total()).replace(b"<THONGTINDONVI>", b'<THONGTINDONVI Id="unit">')
    assert rules(signed(body, "CHUKYDONVI", id="unit")) == ["signature-partial"]


def test_health_records_are_verified_in_their_own_place() -> None:
    body = health_record(person()).replace(b"<SECURITY/>", b"<SECURITY><SIGNATURE/></SECURITY>")
    assert rules(body, "hssk831") == ["signature-absent"]
    assert rules(signed(body, "SIGNATURE"), "hssk831") == ["signature-valid"]
    assert rules(body.replace(b"<SIGNATURE/>", b"<SIGNATURE>MIIB</SIGNATURE>"), "hssk831") == ["signature-unchecked"]


def test_a_file_without_signature_is_counted_as_such() -> None:
    assert rules(dossier(total())) == ["signature-absent"]


@pytest.mark.parametrize(
    "change",
    [
        (b"</ds:X509Certificate>", b"AAAA</ds:X509Certificate>"),
        (b"rsa-sha256", b"rsa-md99"),
        (b"<ds:SignatureValue>", b"<ds:SignatureValue>AAAA"),
        (b'URI=""', b'URI="file:///etc/passwd"'),
        (b"ds:SignedInfo", b"ds:Other"),
        (b"ds:X509Data", b"ds:Other"),
    ],
)
def test_a_broken_signature_is_told_and_breaks_nothing(whole: bytes, change: tuple[bytes, bytes]) -> None:
    assert change[0] in whole
    assert rules(whole.replace(*change)) == ["signature-invalid"]


def test_a_document_type_is_not_parsed_for_a_signature(whole: bytes) -> None:
    assert rules(b'<!DOCTYPE x [<!ENTITY a "b">]>' + whole) == []


def test_a_file_that_is_too_large_to_verify_says_so(whole: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "SIZE_LIMIT", 1_000)
    assert rules(whole + b" " * (1 << 20)) == ["signature-absent"]  # it is not where signatures stand
    monkeypatch.setattr(signatures, "_TAIL", len(whole))
    assert rules(whole) == ["signature-unchecked"]


@pytest.mark.parametrize(
    ("trusted", "rule", "severity"),
    [
        ((ROOT,), "signature-trusted", "information"),  # by way of the certificate that comes with the signature
        ((STEP,), "signature-trusted", "information"),
        ((CERTIFICATE,), "signature-trusted", "information"),
        ((STRANGER,), "signature-unknown-signer", "warning"),  # of the same name
    ],
)
def test_whether_somebody_trusted_vouches_for_the_signer_is_told(
    whole: bytes, trusted: tuple[x509.Certificate, ...], rule: str, severity: str
) -> None:
    (told,) = notes(whole, signers=Signers(trusted))
    assert (told.rule, told.severity, told.found) == (rule, severity, "Trạm Y tế xã (mẫu)")


def test_a_certificate_that_was_not_made_to_vouch_for_others_does_not(whole: bytes) -> None:
    forged = certificate("Giả mạo (mẫu)", OTHER_KEY, "Trạm Y tế xã (mẫu)", KEY, False)
    assert Signers((ROOT,)).trust(forged, [CERTIFICATE, STEP], LONG_AGO + timedelta(days=1)) == "unknown"


def revocations(
    *revoked: x509.Certificate, issuer: x509.Certificate = STEP, key: Any = STEP_KEY, days: int = 7
) -> x509.CertificateRevocationList:
    """A list by an authority, which is to be replaced in `days` days."""
    now = datetime.now(UTC)
    made = x509.CertificateRevocationListBuilder().issuer_name(issuer.subject)
    made = made.last_update(now - timedelta(days=30)).next_update(now + timedelta(days=days))
    for one in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(one.serial_number).revocation_date(LONG_AGO)
        made = made.add_revoked_certificate(entry.build())
    return made.sign(key, hashes.SHA256())


@pytest.mark.parametrize("trusted", [(ROOT, STEP), (STEP, CERTIFICATE)])
@pytest.mark.parametrize(
    ("told", "rule"),
    [
        (revocations(), "signature-trusted"),
        (revocations(STRANGER), "signature-trusted"),
        (revocations(CERTIFICATE), "signature-revoked"),
        (revocations(CERTIFICATE, days=-1), "signature-revoked"),
        (revocations(days=-1), "signature-list-outdated"),
    ],
)
def test_a_revoked_signer_and_an_outdated_list_are_told(
    whole: bytes, trusted: tuple[x509.Certificate, ...], told: x509.CertificateRevocationList, rule: str
) -> None:
    assert [one.rule for one in notes(whole, signers=Signers(trusted, (told,)))] == [rule]


def test_a_signer_whose_authority_was_revoked_is_told(whole: bytes) -> None:
    signers = Signers((ROOT,), (revocations(STEP, issuer=ROOT, key=ROOT_KEY),))
    assert [one.rule for one in notes(whole, signers=signers)] == ["signature-revoked"]


def test_lists_are_read_in_both_forms_and_only_of_an_authority_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "authorities.pem").write_bytes(STEP.public_bytes(serialization.Encoding.PEM))
    told = revocations(CERTIFICATE)
    (tmp_path / "a.crl").write_bytes(told.public_bytes(serialization.Encoding.PEM))
    (tmp_path / "b.CRL").write_bytes(told.public_bytes(serialization.Encoding.DER))
    assert Signers.load(tmp_path).lists == (told, told)
    (tmp_path / "c.crl").write_bytes(revocations(key=OTHER_KEY).public_bytes(serialization.Encoding.DER))
    with pytest.raises(CertificateFault, match=r"c\.crl.*who signed"):
        Signers.load(tmp_path)
    (tmp_path / "c.crl").write_bytes(b"x")
    with pytest.raises(CertificateFault, match=r"c\.crl holds no list"):
        Signers.load(tmp_path)


async def test_a_folder_that_became_faulty_is_told_and_refuses_no_file(
    desk: Desk, whole: bytes, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted"
    trusted.mkdir()
    settings = desk.context.settings.model_copy(update={"trusted_certificates": trusted})
    report = await import_records(desk.context.with_(settings=settings), [desk.put(whole, "a.xml")])
    assert (report.stored, report.rules[("warning", "signature-unchecked")]) == (2, 1)


def test_a_list_that_was_replaced_counts_at_the_next_file(tmp_path: Path) -> None:
    (tmp_path / "authorities.pem").write_bytes(STEP.public_bytes(serialization.Encoding.PEM))
    settings = Settings(trusted_certificates=tmp_path)
    before = signers_of(settings)
    (tmp_path / "a.crl").write_bytes(revocations(CERTIFICATE).public_bytes(serialization.Encoding.PEM))
    now = signers_of(settings)
    assert before is not None
    assert now is not None
    assert (before.lists, len(now.lists), signers_of(settings) is now) == ((), 1, True)


def test_trusted_certificates_are_read_from_a_folder_and_what_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(CertificateFault, match="holds no certificate"):
        Signers.load(tmp_path)
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (ROOT, STEP))
    (tmp_path / "authorities.pem").write_bytes(pem)
    (tmp_path / "README.txt").write_bytes(b"x")
    assert Signers.load(tmp_path).certificates == (ROOT, STEP)
    (tmp_path / "broken.crt").write_bytes(b"x")
    with pytest.raises(CertificateFault, match=r"broken\.crt"):
        Signers.load(tmp_path)
