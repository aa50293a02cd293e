"""The bounds of one search: how many resources it may look at, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic

from fhir_server.errors import FhirError, Kind


@dataclass(slots=True)
class Work:
    """How much one search may do: documents that further queries return, and seconds."""

    most: int
    seconds: float
    done: int = 0
    started: float = field(default_factory=monotonic)

    def spend(self, documents: int, part: str) -> None:
        """Raises FhirError TOO_COSTLY, naming the part of the search that was being answered."""
        self.done += documents
        if self.done > self.most:
            text = f"the search examined {self.most} resources for {part}; make another parameter more selective"
            raise FhirError(Kind.TOO_COSTLY, text, (part,))
        if self.is_over:
            text = f"the search took over {self.seconds:g} s, last for {part}; make another parameter more selective"
            raise FhirError(Kind.TOO_COSTLY, text, (part,))

    @property
    def is_over(self) -> bool:
        return monotonic() - self.started > self.seconds
