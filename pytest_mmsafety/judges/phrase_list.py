"""A list of phrases that decline, as a YAML file that anyone can read, made ready to search."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml

Patterns = Mapping[str, tuple[re.Pattern[str], ...]]
"""By language."""
LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class PhraseList:
    """What a file of phrases says, ready to search."""

    sections: Mapping[str, Patterns]
    """By the name of the section: ``refusals``, ``not_refusals``, ..."""
    simplified: Mapping[int, str]
    """Traditional characters of the phrases, for ``str.translate``."""

    def search(self, section: str, language: str, text: str) -> re.Match[str] | None:
        """Return the first hit of the first phrase of *section* that is found."""
        return next((found for one in self.sections[section][language] if (found := one.search(text))), None)

    def blanked(self, language: str, text: str) -> str:
        """*text* without what only looks like a refusal."""
        for pattern in self.sections["not_refusals"][language]:
            text = pattern.sub(" ", text)
        return text


@cache
def load_phrase_list(package: str, name: str) -> PhraseList:
    """Read the list *name* that comes with *package*, once."""
    source = yaml.safe_load(files(package).joinpath(name).read_text("utf-8"))
    words: dict[str, str] = {}
    for key, block in source.pop("words").items():
        words[key] = f"(?:{'|'.join(_named(line, words) for line in _lines(block))})"
    pairs = "".join(source.pop("traditional").split())
    return PhraseList(
        {section: {key: _compiled(block, words, key) for key, block in of.items()} for section, of in source.items()},
        {ord(old): new for old, new in zip(pairs[::2], pairs[1::2], strict=True)},
    )


def _lines(block: str) -> Iterator[str]:
    return filter(None, map(str.strip, block.splitlines()))


def _compiled(block: str, words: Mapping[str, str], language: str) -> tuple[re.Pattern[str], ...]:
    whole = r"(?<!\w)(?:{})(?!\w)" if language == "en" else "(?:{})"
    return tuple(re.compile(whole.format(_pattern(line, words))) for line in _lines(block))


def _pattern(phrase: str, words: Mapping[str, str]) -> str:
    return _named(phrase, words).replace("...", "[^.!?]{0,40}?")


def _named(phrase: str, words: Mapping[str, str]) -> str:
    return re.sub(r"\{([a-z_]+)\}", lambda name: words[name[1]], phrase)
