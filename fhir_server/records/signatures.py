"""XML signatures (XMLDSig) of files of records: whether what was signed is what came, by whom, and with what.

A signature is verified with the certificate that it carries: a file that somebody changed on its way is told. Whether
that certificate is one of a recognised authority is told where the operator says which are. Nothing is refused, and
nothing is taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import IO, Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from lxml import etree
from signxml.algorithms import DigestAlgorithm, SignatureMethod
from signxml.exceptions import SignXMLException
from signxml.verifier import SignatureConfiguration, XMLVerifier

from fhir_server.records.signers import Signers, Trust
from fhir_server.records.source import Problem
from fhir_server.records.xml_cuts import XmlContainer

SIZE_LIMIT = 64 << 20  # bytes of a file whose signature is verified: it is parsed as a whole
SIGNATURES_LIMIT = 20
CERTIFICATES_LIMIT = 10  # of one signature: the signer's and those that lead to its authority
_TAIL = 1 << 20
_DSIG = "{http://www.w3.org/2000/09/xmldsig#}"
_SIGNATURE = re.compile(rb"<(?:[\w.\-]+:)?Signature[\s>]")
_AS_SIGNED = ("the file is as it was signed", "tệp đúng như khi được ký")
# Whether the signer is trusted (None: not looked at) -> rule, severity and text of a signature that holds.
_HOLDS: Mapping[Trust | None, tuple[str, str, tuple[str, str]]] = {
    None: ("signature-valid", "information", _AS_SIGNED),
    "trusted": ("signature-trusted", "information", _AS_SIGNED),
    "unknown": (
        "signature-unknown-signer",
        "warning",
        (
            "the file is as it was signed, but no trusted certificate vouches for the signer",
            "tệp đúng như khi được ký, nhưng không có chứng thư tin cậy nào xác nhận người ký",
        ),
    ),
    "revoked": (
        "signature-revoked",
        "warning",
        (
            "the file is as it was signed, but the certificate of the signer, or of its authority, has been revoked",
            "tệp đúng như khi được ký, nhưng chứng thư của người ký hoặc của nơi cấp đã bị thu hồi",
        ),
    ),
    "outdated": (
        "signature-list-outdated",
        "warning",
        (
            "the file is as it was signed by a trusted signer; the list that tells whether it was revoked is outdated",
            "tệp đúng như khi được ký, người ký được tin cậy; danh sách thu hồi dùng để kiểm tra đã quá hạn",
        ),
    ),
}
NO_SIGNERS = Problem(
    "warning",
    "signature-unchecked",
    (
        "the server cannot read its trusted certificates; its operator finds the reason in the log",
        "máy chủ không đọc được chứng thư tin cậy; quản trị viên xem lý do trong nhật ký",
    ),
)
# SHA-1 is verified too, and told; since 2026 the insurance wants SHA-256.
_ALL = SignatureConfiguration(
    expect_references=True,
    signature_methods=frozenset(method for method in SignatureMethod if not method.name.startswith("HMAC")),
    digest_algorithms=frozenset(DigestAlgorithm),
)


def signature_notes(
    stream: IO[bytes], size: int, container: XmlContainer, signers: Signers | None = None
) -> list[Problem]:
    """What is to be told of a file's signatures; the stream is where it was afterwards. size: bytes of the file.
    signers: whose are trusted; None where that is not looked at."""
    try:
        if size > SIZE_LIMIT:
            stream.seek(size - _TAIL)
            return [_unchecked()] if _SIGNATURE.search(stream.read()) else [_absent()]
        body = stream.read()
    finally:
        stream.seek(0)
    if _SIGNATURE.search(body):
        return list(_verified(body, container, signers))
    told = re.search(rb"<%s>\s*([^<\s][^<]*)<" % container.signature.encode(), body)
    return [_no_signature()] if told else [_absent()]


def _verified(body: bytes, container: XmlContainer, signers: Signers | None) -> Iterator[Problem]:
    if b"<!DOCTYPE" in body:
        return  # the reader refuses the file
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(body, parser)
    except etree.XMLSyntaxError:
        yield _invalid("", ("the file is not well-formed as a whole", "cả tệp không đúng cú pháp XML"))
        return
    for signature in list(root.iter(f"{_DSIG}Signature"))[:SIGNATURES_LIMIT]:
        yield from _one(root, signature, container, signers)


def _one(root: Any, signature: Any, container: XmlContainer, signers: Signers | None) -> Iterator[Problem]:
    signer = ""
    try:
        certificate, *others = _certificates(signature)
        signer = _name_of(certificate)
        results = _verify(root, signature, certificate)
        trust = signers.trust(certificate, others, _in_force(certificate)) if signers is not None else None
    except (SignXMLException, ValueError, TypeError, KeyError, UnsupportedAlgorithm, etree.LxmlError) as fault:
        yield _invalid(signer, (_short(fault), _short(fault)))
        return
    if not _covers(results, root, container):
        text = ("it is valid, but does not cover all records of the file", "hợp lệ, nhưng không ký mọi hồ sơ của tệp")
        yield Problem("warning", "signature-partial", text, container.signature, signer)
    else:
        rule, severity, text = _HOLDS[trust]
        yield Problem(severity, rule, text, container.signature, signer)
    if "sha1" in " ".join(_algorithms(signature)).lower():
        text = (
            "signed with SHA-1, which may be forged; SHA-256 is wanted",
            "ký bằng SHA-1, có thể bị giả; phải dùng SHA-256",
        )
        yield Problem("warning", "signature-sha1", text, container.signature, signer)


def _verify(root: Any, signature: Any, certificate: x509.Certificate) -> list[Any]:
    """What the signature covers. Raises SignXMLException and others for one that does not hold."""
    parent = root.getroottree().getelementpath(signature.getparent())
    config = replace(_ALL, location="./" if parent == "." else f"./{parent}/")
    # The day of signing is not known for certain; that the certificate is over by now says nothing of the file.
    config = replace(config, verification_time=_in_force(certificate))
    found = XMLVerifier().verify(root, x509_cert=certificate, expect_config=config, validate_schema=False)
    return found if isinstance(found, list) else [found]


def _covers(results: list[Any], root: Any, container: XmlContainer) -> bool:
    """True when one signed element holds every record: a signature on something else says nothing of them."""
    wanted = sum(1 for _ in root.iter(container.record))
    return any(
        one.signed_xml is not None and sum(1 for _ in one.signed_xml.iter(container.record)) == wanted
        for one in results
    )


def _in_force(certificate: x509.Certificate) -> datetime:
    return certificate.not_valid_before_utc + timedelta(seconds=1)


def _certificates(signature: Any) -> list[x509.Certificate]:
    """The signer's, and those that come with it. Raises ValueError."""
    found = signature.findall(f"{_DSIG}KeyInfo/{_DSIG}X509Data/{_DSIG}X509Certificate")
    texts = ["".join((one.text or "").split()) for one in found[:CERTIFICATES_LIMIT]]
    if not texts:
        raise ValueError("it carries no certificate")
    parts = [f"-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n" for text in texts]
    return x509.load_pem_x509_certificates("".join(parts).encode())


def _name_of(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


def _algorithms(signature: Any) -> Iterator[str]:
    for name in ("SignatureMethod", "DigestMethod"):
        for element in signature.iter(f"{_DSIG}{name}"):
            yield element.get("Algorithm") or ""


def _short(fault: Exception) -> str:
    return f"{type(fault).__name__}: {fault}"[:160]


def _invalid(signer: str, why: tuple[str, str]) -> Problem:
    text = (f"the signature does not hold: {why[0]}", f"chữ ký không đúng: {why[1]}")
    return Problem("warning", "signature-invalid", text, found=signer)


def _absent() -> Problem:
    return Problem("information", "signature-absent", ("the file is not signed", "tệp không có chữ ký"))


def _no_signature() -> Problem:
    text = ("what stands for a signature is no XML signature", "phần chữ ký không phải chữ ký XML (XMLDSig)")
    return Problem("warning", "signature-unchecked", text)


def _unchecked() -> Problem:
    text = (f"the file is larger than {SIZE_LIMIT >> 20} MB", f"tệp lớn hơn {SIZE_LIMIT >> 20} MB")
    return Problem("warning", "signature-unchecked", text)
