"""Texts compared: what counts as the same words, and which are nearly the same."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from pytest_mmsafety.errors import SetupError

NEAR_RATIO = 90.0
"""Per cent of the characters of two prompts that agree in order. Measured, see ``docs/doctor.md``."""
_NEIGHBOURS = 16
"""With how many texts that share two words in a row a text is compared: bounds the work on a template."""

_IDEOGRAPHS = "\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"


def same(text: str) -> str:
    """Equal for texts that only differ in case, width, blanks or the marks at their ends."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split()).strip(" .?!…。“”‘’\"'") or text


def normalised(text: str) -> str:
    """The words alone: case, width, punctuation and blanks make no difference."""
    return " ".join(re.split(r"[\W_]+", unicodedata.normalize("NFKC", text).casefold())).strip()


def tokens(text: str) -> list[str]:
    """Words of a normalised text; where a script has no blanks between words, its characters."""
    return re.findall(rf"[{_IDEOGRAPHS}]|[^\s{_IDEOGRAPHS}]+", text)


def shingles(words: Sequence[str], size: int) -> set[str]:
    """Every run of *size* words; one shorter run if there are fewer."""
    return {" ".join(words[start : start + size]) for start in range(max(1, len(words) - size + 1))}


def contents(prompts: Sequence[str]) -> list[str]:
    """The prompts without lines that most of them share: an instruction is no reason to call two alike."""
    lines = Counter(line for prompt in prompts for line in set(prompt.splitlines()))
    shared = {line for line, count in lines.items() if count >= 3 and count > len(prompts) / 2}
    kept = ["\n".join(line for line in prompt.splitlines() if line not in shared) for prompt in prompts]
    return [content if content.strip() else prompt for content, prompt in zip(kept, prompts, strict=True)]


def near_texts(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of indices, the smaller first, of normalised texts that hardly differ. An empty one is like no other.

    Texts that have no two words in a row in common are not compared: the work grows with the number of
    texts, not with its square. Raises :class:`SetupError` if rapidfuzz is missing.
    """
    try:
        from rapidfuzz import fuzz
    except ImportError as error:
        raise SetupError("doctor: rapidfuzz is missing; pip install 'pytest-mmsafety[doctor]'") from error

    seen: defaultdict[str, list[int]] = defaultdict(list)
    # In the order of the alphabet, the last to share a pair of words share more than that.
    for number in sorted(range(len(texts)), key=texts.__getitem__):
        text = texts[number]
        candidates = set()
        for pair in shingles(tokens(text), 2):
            candidates.update(seen[pair][-_NEIGHBOURS:])
            seen[pair].append(number)
        for other in sorted(candidates):
            if text and fuzz.ratio(text, texts[other], score_cutoff=NEAR_RATIO):
                yield min(number, other), max(number, other)
