"""The keys of texts that are found by their words: names and whole addresses.

A query of several words finds a text that has them in this order, from any word on, the last one perhaps only begun
(`nguyen van a`); and a text that has all of them as whole words, in any order (`an nguyen`). Each of the two is one
range of keys, so that a page costs the same however common the words are.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

from fhir_server.search.clauses import Ways, beginning, each, key
from fhir_server.search.entry import WORDS
from fhir_server.search.fold import words
from fhir_server.store.values import Filter

_LONGEST_WORD = 48
_LONGEST_KEY = 96
_MOST_WORDS = 64
# Of so many words every choice has a key: 26 keys. A longer name has one for each word, and is found by all of them.
_MOST_CHOSEN = 5


def name_words(text: str) -> list[str]:
    """The words of a name. A comma within it parts none, so that `Richard,Muller` is one word."""
    joined = text.replace(",", "")
    return address_words(joined if joined.strip() else text)


def address_words(text: str) -> list[str]:
    return [word[:_LONGEST_WORD] for word in words(text)[:_MOST_WORDS]]


def name_keys(texts: Sequence[Sequence[str]]) -> set[str]:
    """texts: the words of the whole and of its parts, which most often stand in the whole."""
    keys: set[str] = set()
    told = ""
    for found in texts:
        text = " ".join(found)
        if f" {text} " not in told:  # else the tails of the whole begin with it
            told += f" {text} "
            keys.update(" ".join(found[place:])[:_LONGEST_KEY] for place in range(len(found)))
    distinct = sorted({word for found in texts for word in found})
    if len(distinct) > _MOST_CHOSEN:
        return keys.union(WORDS + word for word in distinct)
    sizes = range(2, len(distinct) + 1)
    return keys.union(WORDS + " ".join(chosen) for size in sizes for chosen in combinations(distinct, size))


def name_filter(found: Sequence[str], letters: str) -> Filter:
    """The names that have the words of a query."""
    in_order = beginning(letters + " ".join(found)[:_LONGEST_KEY])
    distinct = sorted(set(found))
    if len(distinct) == 1:
        return in_order
    in_long = each(key(letters + WORDS + word) for word in distinct)
    if len(distinct) > _MOST_CHOSEN:
        return Ways((in_order, in_long))
    return Ways((in_order, key(letters + WORDS + " ".join(distinct)), in_long))


def address_keys(texts: Sequence[Sequence[str]]) -> set[str]:
    """Each word with the one behind it, if there is one. texts: the words of the whole and of its parts, which most
    often stand in the whole."""
    pairs = {f"{word} {following} " for found in texts for word, following in pairwise(found)}
    begun = {pair.partition(" ")[0] for pair in pairs}
    return pairs | {f"{found[-1]} " for found in texts if found[-1] not in begun}


def address_filter(found: Sequence[str], letters: str) -> Filter:
    """The addresses that have the words of a query."""
    if len(found) == 1:
        return beginning(letters + found[0])
    pairs = [f"{word} {following} " for word, following in pairwise(found)]
    pairs[-1] = pairs[-1][:-1]
    in_order = each(beginning(letters + pair) for pair in dict.fromkeys(pairs))
    return Ways((in_order, each(beginning(f"{letters}{word} ") for word in dict.fromkeys(found))))
