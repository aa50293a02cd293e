"""Asks authorization servers over HTTPS: only where the operator has configured it, bounded, never redirected."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
import msgspec

SECONDS = 5.0
LARGEST = 1 << 20  # bytes of an answer


class Unreachable(Exception):
    """No usable answer; the message says why, without what was sent."""


class Fetch:
    """One client for all authorization servers. Nothing that a token says ever becomes an address."""

    def __init__(self) -> None:
        self._client: httpx.AsyncClient | None = None

    async def json(
        self, url: str, form: Mapping[str, str] | None = None, login: tuple[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object at a URL; a form is posted. Raises Unreachable."""
        try:
            content = await self._content(url, form, login)
            found = msgspec.json.decode(content)
        except (httpx.HTTPError, httpx.InvalidURL, msgspec.DecodeError, OSError) as fault:
            raise Unreachable(f"{url}: {type(fault).__name__}") from None
        if not isinstance(found, dict):
            raise Unreachable(f"{url}: not a JSON object")
        return found

    async def _content(self, url: str, form: Mapping[str, str] | None, login: tuple[str, str] | None) -> bytes:
        if self._client is None:
            self._client = httpx.AsyncClient(timeout=SECONDS, follow_redirects=False)
        method = "GET" if form is None else "POST"
        headers = {"accept": "application/json"}
        async with self._client.stream(method, url, data=form, auth=login, headers=headers) as answer:
            if answer.status_code != httpx.codes.OK:
                raise Unreachable(f"{url}: HTTP {answer.status_code}")
            content = b""
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > LARGEST:
                    raise Unreachable(f"{url}: more than {LARGEST} bytes")
        return content

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()
