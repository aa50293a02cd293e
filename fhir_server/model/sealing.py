"""Short contents given to a client as texts that reveal nothing and that nobody else can make."""

from __future__ import annotations

import base64
import binascii
import os
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE = 12
_cipher = lru_cache(maxsize=8)(AESGCM)


def seal(content: bytes, key: bytes, purpose: bytes) -> str:
    """A URL-safe text. key: 32 bytes. purpose: what it is for, and for whom: it is opened for nothing else."""
    nonce = os.urandom(_NONCE)
    sealed = nonce + _cipher(key).encrypt(nonce, content, purpose)
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def unseal(text: str, key: bytes, purpose: bytes) -> bytes | None:
    """None for anything that `seal` did not make with this key for this purpose."""
    try:
        sealed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        return _cipher(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], purpose)
    except (binascii.Error, ValueError, InvalidTag):
        return None
