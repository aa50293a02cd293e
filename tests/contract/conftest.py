"""What the store's contract needs besides a store: faults of the database on demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import OperationFailure

FailPoints = Callable[..., AbstractContextManager[None]]


@pytest.fixture
def failpoints(mongodb: MongoClient[dict[str, Any]]) -> FailPoints:
    """`with failpoints("failCommand", times=2, failCommands=["insert"], errorCode=112):` (MongoDB's test commands)."""

    @contextmanager
    def switch(name: str, times: int | None = None, **data: Any) -> Iterator[None]:
        mode = "alwaysOn" if times is None else {"times": times}
        try:
            mongodb.admin.command("configureFailPoint", name, mode=mode, data=data)
        except OperationFailure as answer:
            pytest.skip(f"this MongoDB has no test commands (code {answer.code})")
        try:
            yield
        finally:
            mongodb.admin.command("configureFailPoint", name, mode="off")

    return switch
