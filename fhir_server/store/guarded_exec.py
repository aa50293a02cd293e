"""Runs a program that is told to end when the process that asked for it ends, however that one ends (Linux).

Executed as a script (`python -I -S guarded_exec.py PARENT PROGRAM ARGUMENT…`), so it imports nothing of ours.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    parent, program = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before the line above
        return
    try:
        os.execv(program[0], program)  # noqa: S606  running the program given is its purpose
    except OSError as fault:
        sys.stderr.write(f"cannot execute {program[0]}: {fault.strerror}\n")
        sys.exit(127)


if __name__ == "__main__":
    main(sys.argv[1:])
