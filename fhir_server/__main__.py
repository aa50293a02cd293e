"""The program: `fhir-server` and `python -m fhir_server`."""

from __future__ import annotations

import os
import sys

from fhir_server.cli.commands import app
from fhir_server.cli.faults import CANNOT_RUN, INCOMPLETE, CannotRun
from fhir_server.model.rare_collections import collect_rarely


def main() -> None:
    """Runs the command line; a CannotRun becomes its sentence on stderr and its exit code, a fault of the program the
    places that it came through."""
    collect_rarely()
    try:
        app(prog_name="fhir-server")
    except BrokenPipeError:  # the reader of our output has gone; what is still buffered must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(INCOMPLETE)
    except CannotRun as fault:
        print(f"fhir-server: {fault}", file=sys.stderr)
        sys.exit(fault.code)
    except Exception as fault:
        from fhir_server.cli.logs import places

        told = "\n".join(places(fault))
        print(f"fhir-server: an unexpected error; please report where it came from:\n{told}", file=sys.stderr)
        sys.exit(CANNOT_RUN)


if __name__ == "__main__":
    main()
