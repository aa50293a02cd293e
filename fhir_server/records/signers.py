"""Whose signatures are trusted: those that a certificate in the operator's folder vouches for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.x509.verification import ExtensionPolicy, PolicyBuilder, Store, VerificationError

from fhir_server.config import Settings

SUFFIXES = frozenset({".pem", ".crt", ".cer"})


class CertificateFault(ValueError):
    """A file of the folder is no certificate in PEM; the text names it."""


@dataclass(frozen=True, slots=True)
class Signers:
    """certificates: of authorities, and of single signers."""

    certificates: tuple[x509.Certificate, ...]

    @classmethod
    def load(cls, folder: Path) -> Signers:
        """Raises CertificateFault."""
        found: list[x509.Certificate] = []
        for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES):
            try:
                found += x509.load_pem_x509_certificates(path.read_bytes())
            except (OSError, ValueError) as fault:
                raise CertificateFault(f"{path} holds no certificate in PEM: {fault}") from None
        if not found:
            raise CertificateFault(f"{folder} holds no certificate in PEM ({', '.join(sorted(SUFFIXES))})")
        return cls(tuple(found))

    def trust(self, signer: x509.Certificate, others: Sequence[x509.Certificate], on: datetime) -> bool:
        """True for a certificate of the folder, and for one that a chain (RFC 5280) leads from to one of them. others:
        what else the signature carries. on: the moment at which all of the chain must be in force. Whether one has
        been revoked is not asked: nothing is fetched."""
        if signer in self.certificates:
            return True
        # Certificates for signing documents name no host: of the signer's own extensions nothing is required.
        policy = PolicyBuilder().store(Store(list(self.certificates))).time(on)
        verifier = policy.extension_policies(
            ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=ExtensionPolicy.permit_all()
        ).build_client_verifier()
        try:
            verifier.verify(signer, list(others))
        except VerificationError:
            return False
        return True


@lru_cache(maxsize=2)
def _loaded(folder: Path) -> Signers:
    return Signers.load(folder)


def signers_of(settings: Settings) -> Signers | None:
    """Those of this installation, read once; None where signers are not looked at. Raises CertificateFault."""
    return _loaded(settings.trusted_certificates) if settings.trusted_certificates is not None else None
