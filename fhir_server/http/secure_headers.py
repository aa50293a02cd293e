"""Headers that keep browsers from guessing, framing, leaking and falling back to plain HTTP. Plain ASGI."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # Pages are served whole: nothing is loaded from elsewhere, and no script runs.
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; frame-ancestors 'none'",
    ),
)
STRICT_TRANSPORT = (b"strict-transport-security", b"max-age=31536000; includeSubDomains")


class SecureHeaders:
    """is_https: clients reach the server by https, and shall never try anything else. What an answer says of its own
    stays as it is: the content of a Binary is guarded more strictly."""

    def __init__(self, app: ASGIApp, is_https: bool) -> None:
        self._app = app
        self._headers = (*HEADERS, STRICT_TRANSPORT) if is_https else HEADERS
        self._names = frozenset(name for name, _ in self._headers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                said = self._names.intersection([name for name, _ in message["headers"]])
                own = [pair for pair in self._headers if pair[0] not in said] if said else self._headers
                message["headers"] = [*message["headers"], *own]
            await send(message)

        await self._app(scope, receive, sent if scope["type"] == "http" else send)
