"""Idempotency-Key: a request that is sent again is carried out once, and answered as it was the first time.

The header is that of the IETF draft httpapi-idempotency-key-header; R4 itself has no more than If-None-Exist (RESTful
API, conditional create). The answer is kept in the transaction that writes, so there is no moment in which one is there
without the other. What was refused has written nothing and kept no answer: sent again, it is tried again. An answer is
given again while its caller has the rights that it was given by, and may still know of all that it tells.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator

import msgspec
from msgspec.structs import replace

from fhir_server.errors import FhirError, Kind
from fhir_server.interactions.exchange import NOTHING_SHOWN, Context, FhirRequest, FhirResponse
from fhir_server.interactions.recording import shown_many
from fhir_server.model.resources import Resource, decode, encode
from fhir_server.store.contract import Transaction
from fhir_server.store.values import Stored

HEADER = "idempotency-key"
REPLAYED = "Idempotent-Replayed"
_KEY = re.compile(r'"(?P<quoted>[\x21\x23-\x5b\x5d-\x7e]{1,255})"|(?P<bare>[\x21\x23-\x7e]{1,255})')
_SAFE = ("GET", "HEAD", "OPTIONS")
_Commit = Callable[[Transaction], Awaitable[FhirResponse]]


class Once(msgspec.Struct, frozen=True):
    """What a request may do once. key: of the caller and the header, or of a part. sent: hash of method, URL, body and
    of what the caller's rights come from."""

    key: str
    sent: bytes

    def part(self, name: str) -> Once:
        """For one of the transactions that make up the request: an entry of a batch."""
        return replace(self, key=f"{self.key}/{name}")

    def guard(self, context: Context, commit: _Commit) -> _Commit:
        """`commit`, or the answer that it gave when it was committed before."""

        async def guarded(transaction: Transaction) -> FhirResponse:
            before = await transaction.answered(self.key)
            if before is not None:
                return await self._replayed(context, before)
            response = await commit(transaction)
            await transaction.keep_answer(self.key, self._packed(response))
            return response

        return guarded

    def _packed(self, response: FhirResponse) -> bytes:
        return zlib.compress(_encode(_Kept(self.sent, replace(response, shown=NOTHING_SHOWN))), 1)

    async def _replayed(self, context: Context, content: bytes) -> FhirResponse:
        kept = _decoder.decode(zlib.decompress(content))
        if kept.sent != self.sent:
            raise _other_request()
        told = await told_again(context, kept.response.body)
        if told is None:
            raise FhirError(Kind.CONFLICT, "it was carried out before, and its answer tells what is hidden now")
        return replace(kept.response, headers={**kept.response.headers, REPLAYED: "true"}, shown=shown_many(told))


class _Kept(msgspec.Struct, frozen=True):
    sent: bytes
    response: FhirResponse


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(_Kept)


async def with_key(context: Context, request: FhirRequest) -> Context:
    """The context in which the request is carried out once, when it asks for that.

    Raises FhirError UNPROCESSABLE when the key came with another method, URL or body, or with other rights, within the
    last day.
    """
    text = request.headers.get(HEADER)
    if text is None or request.method in _SAFE or request.segments[-1:] == ("_search",):
        return context
    key, sent = _key(context.caller.key, text), _hash_of(context, request)
    if await context.store.agree(f"request/{key}", sent) != sent:
        raise _other_request()
    return context.with_(once=Once(f"once/{key}", sent))


def _other_request() -> FhirError:
    return FhirError(Kind.UNPROCESSABLE, "this Idempotency-Key came with another request; a new one needs a new key")


def _key(caller: str, text: str) -> str:
    """One hash of the caller and the key. The quotes of the draft may be left out."""
    found = _KEY.fullmatch(text.strip())
    if found is None:
        raise FhirError(Kind.VALUE, "Idempotency-Key is 1 to 255 visible ASCII characters, best a UUID")
    return hashlib.sha256(f"{caller}\n{found['quoted'] or found['bare']}".encode()).hexdigest()


def _hash_of(context: Context, request: FhirRequest) -> bytes:
    body = encode(request.resource) if request.resource is not None else request.body
    place = encode([request.method, request.segments, request.query, context.caller.fingerprint])
    return hashlib.sha256(place + hashlib.sha256(body).digest()).digest()


async def told_again(context: Context, answer: bytes) -> list[Stored] | None:
    """What an answer that was kept tells, as it is stored now; None where the caller may not know of all of it by the
    rights of now."""
    told: dict[str, set[str]] = defaultdict(set)
    for resource in _told(decode(answer)) if answer else ():
        told[resource["resourceType"]].add(resource["id"])
    found: list[Stored] = []
    for type, left in told.items():
        for view in context.rights.views.values():
            known = await context.store.read_many(type, sorted(left), view)
            found += known.values()
            left -= known.keys()
            if not left or view.of(type) is None:  # what is shipped and not stored is for all who see all of the type
                break
        else:
            return None
    return found


def _told(resource: Resource) -> Iterator[Resource]:
    """The resource, or those of a Bundle's entries and of Bundles in them."""
    if resource["resourceType"] == "Bundle":
        for entry in resource.get("entry") or ():
            yield from _told(entry["resource"]) if "resource" in entry else ()
    elif "id" in resource:
        yield resource
