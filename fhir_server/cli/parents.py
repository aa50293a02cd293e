"""Processes that must not outlive the one that started them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with_the_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Sends this process a signal when its parent is gone (Linux; elsewhere it stays)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, by, 0, 0, 0)
        if os.getppid() == 1:
            os.kill(os.getpid(), by)
