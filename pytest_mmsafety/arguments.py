"""Option values from the command line, parsed and checked; and what of them may be written down.

A secret is the value of an argument or of an environment variable whose name says so. :func:`parse_pairs` remembers
those of arguments; :func:`without_secrets` takes all of them out of a text, where the text comes into being.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import quote

from pytest_mmsafety.errors import SetupError, nearest


def parse_pairs(option: str, text: str) -> dict[str, str]:
    """``a=1,b=2`` as a mapping."""
    pairs: dict[str, str] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            shown = MASK if any(map(is_secret, pairs)) else repr(part)  # it may be the end of one with a comma
            raise SetupError(f"{option}: {shown} is not name=value")
        if name.strip() in pairs:
            raise SetupError(f"{option}: {name.strip()!r} is given twice")
        pairs[name.strip()] = value.strip()
    _given.update(value for name, value in pairs.items() if is_secret(name))
    _given.update(found[1] for value in pairs.values() if (found := _PASSWORD_OF_URL.search(value)))
    return pairs


def parse_data(values: Sequence[str], base: Path) -> dict[str, Path]:
    """``NAME=PATH`` options as existing folders, relative to *base*."""
    data: dict[str, Path] = {}
    for value in values:
        name, equals, path = value.partition("=")
        if not equals or not name or not path:
            raise SetupError(f"--data: {value!r} is not NAME=PATH")
        if name in data:
            raise SetupError(f"--data: {name!r} is given twice: {data[name]} and {path}")
        folder = base / Path(path).expanduser()
        if not folder.is_dir():
            raise SetupError(f"--data: {name}: {path!r} is not a folder")
        data[name] = folder
    return data


def parse_phase(text: str) -> str:
    """``with`` or ``after``."""
    if text not in ("with", "after"):
        raise SetupError(f"--judge-phase: {text!r}; expected with or after{nearest(text, ('with', 'after'))}")
    return text


def parse_count(option: str, text: str, most: int) -> int:
    """A whole number from 1 to *most*."""
    if not text.isdecimal() or not 1 <= int(text[:9]) <= most:
        raise SetupError(f"{option}: {text!r} is not a whole number from 1 to {most}")
    return int(text)


def parse_share(option: str, text: str) -> float:
    """``0.2`` or ``20%``: more than 0, at most 1."""
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise SetupError(f"{option}: {text!r} is not a share of the cases, such as 0.2 or 20%")
    return share


def parse_seconds(option: str, text: str) -> float | None:
    """``90`` as a time limit; empty: none."""
    try:
        seconds = float(text or "inf")
    except ValueError:
        seconds = -1.0
    if not seconds > 0:
        raise SetupError(f"{option}: {text!r}; expected a number of seconds above 0")
    return None if seconds == float("inf") else seconds


# --- what may be written down


MASK = "***"

_given: set[str] = set()
"""Values of secret arguments of this process: kept for good, no text may have them."""

_PASSWORD_OF_URL = re.compile(r"://[^\s/?#:]*:([^\s/?#]+)@")

_SECRET = re.compile(
    "secrets?|passwords?|passwd|passphrase|pwd|credentials?|auth|authorization|bearer|cookies?|pat|jwt|"
    "apikeys?|authtoken|accesskey|accesstoken|secretkey|privatekey"
)
_PERHAPS = re.compile("keys?|token|session|headers?")
"""Words of secrets that have other meanings too."""
_HARMLESS = re.compile(
    "max|min|num|n|new|per|budget|limit|count|length|size|len|style|format|penalty|eos|bos|pad|unk|sep|cls|mask|image|"
    "video|audio|stop|special|prompt|sort|frames|sock|socket|url|host"
)
"""Beside such a word: numbers of tokens, tokens of a vocabulary."""
_ABOUT = frozenset({"env", "type", "mode", "scheme", "timeout"})
"""Beside any of them: the NAME of an environment variable, a kind."""
_NO_SECRETS = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK"})
"""Environment variables that only look like secrets."""


@cache
def is_secret(name: str) -> bool:
    """Whether an argument or variable of this name holds a secret: ``api_key_2``, ``HF_TOKEN``, ``authHeader``."""
    words = {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)}
    if words & _ABOUT:
        return False
    if any(map(_SECRET.fullmatch, words)):
        return True
    return any(map(_PERHAPS.fullmatch, words)) and not any(map(_HARMLESS.fullmatch, words))


def public_arguments(arguments: Mapping[str, str]) -> dict[str, str]:
    """Arguments as they may be written down: no secrets, of an URL no user and no query, of a path the last part."""
    return {name: MASK if is_secret(name) else public_value(value) for name, value in arguments.items()}


def public_value(value: str) -> str:
    """One value as it may be written down, such as that of ``--model``: a run file travels."""
    if not _is_path(value):
        return without_secrets(value)
    last = re.split(r"[/\\]", value.rstrip("/\\"))[-1]
    return without_values(last if last.strip(".") else Path(value).resolve().name)


_PATH = re.compile(r"~?[/\\].*[/\\]|\.{1,2}[/\\]|~[/\\]|[A-Za-z]:[/\\]")


def _is_path(value: str) -> bool:
    try:
        return bool(value) and "://" not in value and (_PATH.match(value) is not None or Path(value).exists())
    except (OSError, ValueError):  # too long for a name, or not one at all
        return False


_URL = re.compile(
    r"""(?P<scheme>\b[a-zA-Z][\w+.-]*://)(?P<user>[^\s/?#'"<>]*@)?(?P<rest>[^\s?#'"<>]*)"""
    r"""(?P<query>[?#][^\s'"<>]*[^\s'"<>),.;:])?"""
)


def without_secrets(text: str) -> str:
    """The text of an error or a note with ``***`` for every secret, and URLs without user and query."""
    return _URL.sub(_public_url, without_values(text))


def _public_url(url: re.Match[str]) -> str:
    user = f"{MASK}@" if url["user"] else ""
    query = f"{url['query'][0]}{MASK}" if url["query"] else ""
    return f"{url['scheme']}{user}{url['rest']}{query}"


def without_values(text: str) -> str:
    """The text with ``***`` for every secret; URLs stay as they are."""
    for secret in _forms(frozenset((*_given, *_of_environment()))):
        if secret in text:
            text = _whole(secret).sub(MASK, text) if len(secret) < _LONG else text.replace(secret, MASK)
    return text


_LONG = 8
"""Characters from which on a secret of the environment counts, and one is looked for inside of words too."""


@lru_cache(maxsize=8)
def _forms(secrets: frozenset[str]) -> list[str]:
    """The longest first: a secret may be a part of another."""
    return sorted({form for secret in secrets for form in _forms_of(secret)}, key=len, reverse=True)


def _forms_of(secret: str) -> Iterator[str]:
    """A secret as it is, and as a text may show it: a line of it, escaped, in an URL."""
    lines = [line.strip() for line in secret.splitlines()] if len(secret.splitlines()) > 1 else []
    for part in (secret, " ".join(secret.split()), *(line for line in lines if len(line) >= 2 * _LONG)):
        if len(part) >= 4 and part.lower() not in ("true", "false", "none", "null"):
            yield from (part, repr(part)[1:-1], quote(part, safe=""))


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if len(value) >= _LONG and name.upper() not in _NO_SECRETS and is_secret(name):
            yield value


def _whole(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)")
