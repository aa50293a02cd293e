"""Whether a task was cancelled while it waited for the database."""

from __future__ import annotations

import asyncio


def heed_cancellation() -> None:
    """Raises CancelledError when it was asked for, also by a time limit or a signal, and the driver passed over it: on
    Python 3.11 `asyncio.wait_for` does so when what it waits for is done at the same moment, as a send to a socket
    mostly is."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
