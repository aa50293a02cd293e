"""Names written in an old Vietnamese encoding and read as another: TCVN3 (ABC), VNI, windows-1258, or UTF-8 twice.

Its bytes are good UTF-8, so only the letters tell: signs and pairs of letters that no Vietnamese name has.
"""

from __future__ import annotations

import re
import unicodedata

from fhir_server.records.record import Record
from fhir_server.records.source import Problem

RULE = "encoding-suspect"
# TCVN3 and UTF-8 read as windows-1252 are full of its signs; the apostrophes of H'Mông and Ê Đê names are not among
# them. VNI writes each mark as a letter of its own behind the vowel.
_SIGNS = re.compile("[¡-¿×÷ƒ†‡•…‰‹›€™œ\N{REPLACEMENT CHARACTER}]")
_PAIRS = re.compile("(?:aê|aâ|aä|eâ|eã|eä|eù|oâ|öô|öù|ôø)", re.IGNORECASE)


def is_misread(text: str) -> bool:
    """True for a name that is none in any spelling of today."""
    composed = unicodedata.normalize("NFC", text)
    return _SIGNS.search(composed) is not None or _PAIRS.search(composed) is not None


def refuse_misread_names(record: Record) -> None:
    """A name that cannot be read is nobody's: the record is refused rather than stored under it."""
    if record.refused:
        return
    for made in record.mapped.made:
        names = made.resource.get("name", ()) if made.resource["resourceType"] == "Patient" else ()
        for name in names:
            if is_misread(name.get("text", "")):
                field = record.format.sources_of(made.group, "Patient.name")
                text = (
                    "the letters look like TCVN3, VNI or windows-1258 text that was taken for UTF-8",
                    "chữ có vẻ là TCVN3 (ABC), VNI hoặc windows-1258 bị đọc như UTF-8",
                )
                record.mapped.problems.append(Problem("error", RULE, text, field, name["text"]))
