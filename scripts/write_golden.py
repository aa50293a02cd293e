"""Writes the trees and database queries of the golden files of search anew: `make golden`.

To add a case, write its title and query with two empty blocks; then read what this program fills in as carefully as if
you had written it, because from then on it is what the tests hold the compiler to.
"""

from __future__ import annotations

import asyncio
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.unit.search_golden import FOLDER, told

_BLOCKS = re.compile(r"```query\n(?P<query>.*)\n```\n+```tree\n(?:.*\n)*?```\n+```mongodb\n(?:.*\n)*?```\n")


async def main() -> None:
    for path in sorted(FOLDER.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        filled = text
        for found in _BLOCKS.finditer(text):
            tree, mongodb = await told(found["query"])
            made = f"```query\n{found['query']}\n```\n\n```tree\n{tree}```\n\n```mongodb\n{mongodb}```\n"
            filled = filled.replace(found[0], made)
        path.write_text(filled, encoding="utf-8")


if __name__ == "__main__":
    asyncio.run(main())
