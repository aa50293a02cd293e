"""Narrative: what XHTML R4 allows in Narrative.div (txt-1, txt-2; R4 Narrative)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.parsers import expat

_XHTML = "http://www.w3.org/1999/xhtml"
# expat joins namespace and name with this; it cannot be part of a URI or a name.
_JOINT = " "

# The lists of R4's own rule txt-1.
_ELEMENTS = """
    a abbr acronym b big blockquote br caption cite code col colgroup dd dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img
    li ol p pre q samp small span strong sub sup table tbody td tfoot th thead tr tt ul var
"""
_ATTRIBUTES = """
    abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset
    cite class colspan compact coords dir frame headers height href hreflang hspace id lang longdesc name nowrap rel
    rev rowspan rules scope shape span src start style summary tabindex title type valign value vspace width
"""
_ALLOWED_ELEMENTS = frozenset(_ELEMENTS.split())
_ALLOWED_ATTRIBUTES = frozenset(_ATTRIBUTES.split())
_LANGUAGE = f"http://www.w3.org/XML/1998/namespace{_JOINT}lang"
_LINKS = frozenset({"href", "src", "cite", "longdesc"})
_SCRIPT = re.compile(r"[\x00-\x20]*(?:java|vb)script[\x00-\x20]*:", re.IGNORECASE)
# Each is told once, however often it is there; this many are enough to see what is wrong.
_MOST_TOLD = 10


@dataclass(slots=True)
class _Reading:
    """What the parser met: what is not allowed, (kind of message, name), and whether there is anything to read or
    see."""

    wrong: dict[tuple[str, str], None] = field(default_factory=dict)
    has_content: bool = False
    is_inside: bool = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        namespace, _, local = name.rpartition(_JOINT)
        if not self.is_inside:
            self.is_inside = True
            if (namespace, local) != (_XHTML, "div"):
                self._refuse("root", f"<{local} xmlns='{namespace}'>")
        elif namespace != _XHTML or local not in _ALLOWED_ELEMENTS:
            self._refuse("element", f"<{local}>")
        for key, value in attributes.items():
            if key not in _ALLOWED_ATTRIBUTES and key != _LANGUAGE:
                self._refuse("attribute", key.rpartition(_JOINT)[2])
            elif key in _LINKS and _SCRIPT.match(value):
                self._refuse("script", key)
        if local == "img" and "src" in attributes:
            self.has_content = True

    def text(self, text: str) -> None:
        if not self.has_content and text.strip():
            self.has_content = True

    def doctype(self, *_: object) -> None:
        raise _RefusedError

    def _refuse(self, what: str, name: str) -> None:
        if len(self.wrong) < _MOST_TOLD:
            self.wrong[f"narrative-{what}", name[:120]] = None


class _RefusedError(Exception):
    """A document type declaration, which ends the reading at once."""


Fault = tuple[str, Mapping[str, str | int]]


def narrative_faults(div: str) -> tuple[Fault, ...]:
    """(kind of message, its facts) of each fault of a Narrative.div; kinds as in `messages.MESSAGES`."""
    reading = _Reading()
    parser = expat.ParserCreate(namespace_separator=_JOINT)
    parser.StartElementHandler = reading.start
    parser.CharacterDataHandler = reading.text
    parser.StartDoctypeDeclHandler = reading.doctype
    try:
        parser.Parse(div, True)
    except expat.ExpatError as fault:
        return (
            ("narrative-xml", {"found": expat.ErrorString(fault.code), "line": fault.lineno, "column": fault.offset}),
        )
    except _RefusedError:
        return (("narrative-doctype", {}),)
    except UnicodeEncodeError:
        return (("narrative-surrogate", {}),)
    faults: list[Fault] = [(kind, {"found": name}) for kind, name in reading.wrong]
    return tuple(faults if reading.has_content else [*faults, ("narrative-blank", {})])
