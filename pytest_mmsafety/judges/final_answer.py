r"""The final answer in the text of a model: without its thoughts and what it struck out, and what it states apart.

A model states its answer apart when it puts it under a key of JSON, into ``<answer>``, or into ``\boxed{}``. What
stands beside that can still contradict it, so both are handed on.
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from pytest_mmsafety.targets.reasoning import split_reasoning
from pytest_mmsafety.verdicts import Verdict

#: Keys of JSON that hold the answer, the surest first.
_KEYS = (
    r"final[ _-]?answer|最[终終]答案",
    r"answer|答案|回答|答复|答",
    (
        r"response|reply|verdict|choice|selected(?:[ _-]?option)?|selection|option|prediction"
        r"|predicted(?:[ _-]?answer)?|label|result|output|judge?ment|conclusion|结论|判断|选项|选择"
    ),
)
_VALUE = r"""\s*[:：]\s*(?:\[([^\[\]{}]{0,300})\]|"((?:[^"\\]|\\.)*)"?|'((?:[^'\\\n]|\\.)*)'?|([\w.+-]+))"""
_PAIR = re.compile(rf"""(?<!\\)(?:"([^"\\\n]{{1,40}})"|'([^'\\\n]{{1,40}})'){_VALUE}""")
_LOOKS_LIKE_JSON = re.compile(r"""\{\s*["']""")
_TAGGED = re.compile(r"<(?:final[ _-]?)?answer>(.*?)(?:</(?:final[ _-]?)?answer>|\Z)", re.IGNORECASE | re.DOTALL)
_BOXED = re.compile(r"\${0,2}\\(?:boxed|fbox)\s{0,4}\{((?:[^{}]|\{[^{}]{0,300}\}){0,300})\}\${0,2}")
_STRUCK = re.compile(
    r"~~[^~\n]{1,500}~~|<(s|del|strike)>[^<]{0,500}</\1>|\\(?:sout|cancel|st)\{[^{}]{0,300}\}"
    r"|(?:\w[\u0335-\u0338]){1,300}",
    re.IGNORECASE,
)
_TAGS = re.compile(r"</?(?:b|strong|i|em|u|p|span|div|mark|br ?/?|h[1-6]|ul|ol|li|code|pre)>", re.IGNORECASE)

_BLOCK = re.compile(r"</?(?:p|div|br|h[1-6]|ul|ol|li|pre)\b", re.IGNORECASE)


class FinalAnswer(NamedTuple):
    """What a model answers in the end."""

    text: str
    """All of it but what it states apart."""
    stated: tuple[str, ...]
    """What it states apart; empty if it does not."""
    finished: bool
    """Whether its thoughts ended; if not, there is no answer."""


def read_final_answer(response: str) -> FinalAnswer:
    """Take the final answer out of *response*."""
    answer, _, finished = split_reasoning(response)
    if not finished:
        return FinalAnswer("", (), finished=False)
    text = _TAGS.sub(_tag, _STRUCK.sub(" ", answer))
    stated: list[str] = []
    if values := _TAGGED.findall(text):
        stated += values
        text = _TAGGED.sub(" \n", text)
    if values := _BOXED.findall(text):
        stated += values
        text = _BOXED.sub(" ", text)
    text, values = _from_json(text)
    stated += values
    inner = [value for one in stated for value in _unpacked(one) if value.strip()]
    return FinalAnswer(text, tuple(inner), finished=True)


def cut_off(judge: str) -> Verdict:
    """The verdict on a text whose thought never ended."""
    return Verdict(judge, "cut-off", None, "a thought that never ended: there is no answer")


def json_values(text: str) -> list[str]:
    """The strings under the keys of what looks like JSON, decoded; empty if *text* is none."""
    if not _LOOKS_LIKE_JSON.search(text):
        return []
    return [value for _, value in _pairs(text)]


def _tag(found: re.Match[str]) -> str:
    """A block ends a line, an inline mark leaves nothing."""
    return "\n" if _BLOCK.match(found[0]) else ""


def _unpacked(value: str) -> list[str]:
    """A statement inside of a statement: JSON or a box in ``<answer>``."""
    if values := _BOXED.findall(value):
        return list(values)
    return _from_json(value)[1] or [value]


def _from_json(text: str) -> tuple[str, list[str]]:
    """The text without its JSON, and the values of the surest answer keys in it; no change if there are none."""
    if not (start := _LOOKS_LIKE_JSON.search(text)):
        return text, []
    pairs = _pairs(text)
    values: list[str] = []
    for keys in _KEYS:
        values = values or [value for key, value in pairs if re.fullmatch(keys, key.strip(), re.IGNORECASE)]
    if not values and len(pairs) == 1:
        values = [pairs[0][1]]
    if not values:
        return text, []
    end = text.rfind("}")
    return f"{text[: start.start()]}\n{text[end + 1 :] if end > start.start() else ''}", values


def _pairs(text: str) -> list[tuple[str, str]]:
    return [
        (found[1] or found[2], _decoded(next(value for value in (*found.groups()[2:], "") if value is not None)))
        for found in _PAIR.finditer(text)
    ]


def _decoded(value: str) -> str:
    try:
        return str(json.loads(f'"{value}"', strict=False))
    except ValueError:
        return value
