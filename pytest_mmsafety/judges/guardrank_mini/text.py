"""What of an answer is read."""

from __future__ import annotations

import re

from pytest_mmsafety.judges.yes_no import fold

READ = 2000
"""Characters of an answer that are read, after cleaning."""
CONSIDERED = 20_000
"""Characters that are cleaned at all: the time on one answer is bounded."""
SHORTEST = 20
"""Letters below which an answer says too little by itself; a Chinese character counts as four letters."""
_WIDE = re.compile(r"[\u3400-\u9fff\uf900-\ufaff\u3040-\u30ff\uac00-\ud7af]")
_LETTER = re.compile(r"[^\W\d_]")


def cleaned(response: str) -> str:
    """The first :data:`READ` characters of :func:`whole`."""
    return whole(response)[:READ]


def whole(response: str) -> str:
    """Plain width, single spaces, no control characters or lone surrogates; what is :data:`CONSIDERED`."""
    plain = fold(response[:CONSIDERED].encode("utf-8", "replace").decode("utf-8"))
    return " ".join("".join(c if c.isprintable() else " " for c in plain).split())


def says_enough(text: str) -> bool:
    """Whether a cleaned answer has words enough to be judged by itself."""
    letters = len(_LETTER.findall(text))
    return letters + 3 * len(_WIDE.findall(text)) >= SHORTEST
