"""Passwords as they may be kept: salted and hashed, so that nobody reads one from what is kept."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

_COST, _BLOCK, _LANES = 1 << 14, 8, 1


def hashed(password: str, salt: bytes | None = None) -> str:
    """`scrypt$salt$hash`, in base64. salt: fresh when it is not given."""
    salt = salt or secrets.token_bytes(16)
    made = hashlib.scrypt(password.encode(), salt=salt, n=_COST, r=_BLOCK, p=_LANES, dklen=32)
    return f"scrypt${base64.b64encode(salt).decode()}${base64.b64encode(made).decode()}"


# What the password of nobody is compared with, so that it takes the same time.
_NOBODY = f"scrypt${base64.b64encode(b'0' * 16).decode()}$"


def fits(kept: str | None, password: str) -> bool:
    """Takes as long for nobody (None) as for a wrong password."""
    known = kept or _NOBODY
    try:
        salt = base64.b64decode(known.split("$")[1])
    except (IndexError, ValueError):
        return False
    return hmac.compare_digest(hashed(password, salt), known) and kept is not None
