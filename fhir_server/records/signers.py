"""Whose signatures are trusted: whom a certificate of the operator's folder vouches for, and no list there revokes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Literal

from cryptography import x509
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from fhir_server.config import Settings

SUFFIXES = frozenset({".pem", ".crt", ".cer"})
LIST_SUFFIX = ".crl"
_PEM = b"-----BEGIN"

# revoked: the signer, or an authority on the way to one of the folder. outdated: trusted, but the list that could tell
# of a revocation should have been replaced by a newer one.
Trust = Literal["trusted", "unknown", "revoked", "outdated"]


class CertificateFault(ValueError):
    """A file of the folder is not what its name says; the text names it."""


@dataclass(frozen=True, slots=True)
class Signers:
    """certificates: of authorities, and of single signers. lists: of revoked certificates, each by an authority of
    these (RFC 5280, CRL)."""

    certificates: tuple[x509.Certificate, ...]
    lists: tuple[x509.CertificateRevocationList, ...] = ()

    @classmethod
    def load(cls, folder: Path) -> Signers:
        """Raises CertificateFault."""
        found: list[x509.Certificate] = []
        paths = sorted(folder.iterdir())
        for path in (path for path in paths if path.suffix.lower() in SUFFIXES):
            try:
                found += x509.load_pem_x509_certificates(path.read_bytes())
            except (OSError, ValueError) as fault:
                raise CertificateFault(f"{path} holds no certificate in PEM: {fault}") from None
        if not found:
            raise CertificateFault(f"{folder} holds no certificate in PEM ({', '.join(sorted(SUFFIXES))})")
        return cls(tuple(found), tuple(_list(path, found) for path in paths if path.suffix.lower() == LIST_SUFFIX))

    def trust(self, signer: x509.Certificate, others: Sequence[x509.Certificate], on: datetime) -> Trust:
        """Whether a certificate is of the folder, or a chain (RFC 5280) leads from it to one of them. others: what else
        the signature carries. on: the moment at which all of the chain must be in force. A revocation counts whenever
        it was: when the file was signed is not known for certain."""
        chain = [signer] if signer in self.certificates else self._chain(signer, others, on)
        if not chain:
            return "unknown"
        lists = [(one, certificate) for certificate in chain for one in self.lists if one.issuer == certificate.issuer]
        if any(one.get_revoked_certificate_by_serial_number(held.serial_number) is not None for one, held in lists):
            return "revoked"
        return "outdated" if any(_is_over(one) for one, _ in lists) else "trusted"

    def _chain(
        self, signer: x509.Certificate, others: Sequence[x509.Certificate], on: datetime
    ) -> Sequence[x509.Certificate]:
        """From the signer to a certificate of the folder; empty where none leads there."""
        # Certificates for signing documents name no host: of the signer's own extensions nothing is required.
        policy = PolicyBuilder().store(Store(list(self.certificates))).time(on)
        verifier = policy.extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        ).build_client_verifier()
        try:
            return verifier.verify(signer, list(others)).chain
        except VerificationError:
            return []


def _list(path: Path, authorities: Sequence[x509.Certificate]) -> x509.CertificateRevocationList:
    """Raises CertificateFault, also for a list that no authority of the folder has signed."""
    try:
        body = path.read_bytes()
        found = x509.load_pem_x509_crl(body) if body.startswith(_PEM) else x509.load_der_x509_crl(body)
    except (OSError, ValueError) as fault:
        raise CertificateFault(f"{path} holds no list of revoked certificates: {fault}") from None
    if not any(found.issuer == one.subject and _has_signed(one, found) for one in authorities):
        raise CertificateFault(f"{path}: no certificate beside it belongs to who signed this list")
    return found


def _has_signed(authority: x509.Certificate, told: x509.CertificateRevocationList) -> bool:
    try:
        return told.is_signature_valid(authority.public_key())  # type: ignore[arg-type]
    except TypeError:  # a key of a kind that signs no lists
        return False


def _is_over(told: x509.CertificateRevocationList) -> bool:
    return told.next_update_utc is not None and told.next_update_utc < datetime.now(UTC)


def _files(folder: Path) -> Iterator[tuple[str, int, int]]:
    for path in sorted(folder.iterdir()):
        facts = path.stat()
        yield path.name, facts.st_mtime_ns, facts.st_size


@lru_cache(maxsize=2)
def _loaded(folder: Path, files: tuple[tuple[str, int, int], ...]) -> Signers:
    return Signers.load(folder)


def signers_of(settings: Settings) -> Signers | None:
    """Those of this installation, read anew when a file of the folder has changed; None where signers are not looked
    at. Raises CertificateFault."""
    folder = settings.trusted_certificates
    return _loaded(folder, tuple(_files(folder))) if folder is not None else None
