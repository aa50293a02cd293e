"""The MongoDB that a command works on: the operator's own, the embedded one, or the one a running server keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

from fhir_server.cli.faults import CannotRun
from fhir_server.cli.settings import without_secrets
from fhir_server.config import Settings
from fhir_server.errors import FhirError
from fhir_server.store.embedded import Embedded, running_uri
from fhir_server.store.values import StartError

if TYPE_CHECKING:
    from fhir_server.interactions.exchange import Context


@contextmanager
def database(settings: Settings, share: bool = False) -> Iterator[Settings]:
    """The settings with the URI of a MongoDB that runs until the end of the block.

    share: a server of this machine that already keeps the data directory is joined in place of refusing.
    Raises CannotRun.
    """
    joined = settings.mongodb_uri or (running_uri(settings.data_dir) if share else None)
    if joined is not None:
        yield settings.model_copy(update={"mongodb_uri": joined})
        return
    embedded = Embedded(settings.data_dir, settings.mongodb_cache_mb)
    try:
        uri = embedded.start()
    except StartError as fault:
        raise CannotRun(str(fault)) from None
    try:
        yield settings.model_copy(update={"mongodb_uri": uri})
    finally:
        embedded.stop()


@asynccontextmanager
async def context(settings: Settings, migrates: bool = False) -> AsyncIterator[Context]:
    """A context for the work of a command (see `open_context`). Raises CannotRun when the database refuses or goes."""
    from fhir_server.app import open_context  # a second of imports, which `serve` does while mongod starts

    try:
        async with open_context(settings, migrates) as opened:
            yield opened
    except (StartError, FhirError) as fault:
        raise CannotRun(without_secrets(str(fault))) from None
