"""What a command tells the person who typed it when it cannot do its work, and the exit codes."""

from __future__ import annotations

DONE = 0
INCOMPLETE = 1  # some records were refused, a check found something
WRONG_USE = 2  # also typer's own code for an unknown option
CANNOT_RUN = 3  # no database, no port, no permission
INTERRUPTED = 130  # Ctrl-C, as shells tell it


class CannotRun(Exception):
    """The command ends with one sentence on stderr and a code, without a traceback."""

    def __init__(self, sentence: str, code: int = CANNOT_RUN) -> None:
        super().__init__(sentence)
        self.code = code
