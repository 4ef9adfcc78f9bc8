"""A client of OpenAI-compatible chat endpoints: one question in, one text out, whatever the network does.

The standard library is enough for one POST, so no HTTP package is a dependency. The key comes from an environment
variable, goes into one header, and is in no message, verdict or file.
"""

from __future__ import annotations

import email.utils
import http.client
import json
import os
import random
import re
import socket
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

from pytest_mmsafety.errors import MmsafetyError, SetupError

MAX_REPLY = 2**20
"""Bytes; a reply is two lines of JSON."""
LONGEST_WAIT = 120.0
"""Seconds that a server may ask to wait (``Retry-After``)."""
TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
HOPELESS = frozenset({301, 302, 303, 307, 308, 401, 402, 403, 404, 405})
"""Answers of a server that the next question would get too."""


class ChatError(MmsafetyError):
    """One question got no reply; another one may."""


class ChatRefusedError(ChatError):
    """The endpoint answered that it will not: a content filter, or the model declined to judge."""


class ChatClosedError(ChatError):
    """No question will get a reply: wrong key, wrong address, wrong model."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What the model said."""

    text: str
    model: str
    """What the server says it ran, e.g. a dated snapshot; may be empty."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where to ask, and how patiently."""

    url: str
    """Up to and without ``/chat/completions``, e.g. ``https://host/v1``."""
    model: str
    key: str = field(default="", repr=False)
    timeout: float = 60.0
    """Seconds for one attempt, from connecting to the last byte."""
    retries: int = 5
    """Attempts after the first."""
    backoff: float = 0.5
    """Seconds before the first retry at most; doubles with each."""
    max_tokens: int = 512
    """Of a reply; a model that reasons first needs more."""


def check_url(url: str) -> str:
    """*url* without a slash at its end. Raises :class:`SetupError` if it is none, or carries a secret."""
    parts = urllib.parse.urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        host = (parts.netloc.rpartition("@")[2]) or "host"
        raise SetupError(f"url: {parts.scheme}://{host}...: expected no name, password or query in it; use key_env")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SetupError(f"url: {url!r:.80}; expected http://HOST/v1 or https://HOST/v1")
    return url.rstrip("/").removesuffix("/chat/completions")


def key_from(variable: str) -> str:
    """The key in the environment *variable*. Raises :class:`SetupError`, which never shows the value."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", variable):
        raise SetupError("key_env: expected the NAME of an environment variable, such as OPENAI_API_KEY, not a key")
    key = os.environ.get(variable, "").strip()
    if not key:
        raise SetupError(f"key_env={variable}: the environment variable is not set")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise SetupError(f"key_env={variable}: its value has blanks or characters that no key has")
    return key


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """The key must not follow to another address."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Chat:
    """Asks one endpoint; may be used by several threads."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._opener = urllib.request.build_opener(_NoRedirects)
        self._unsupported: frozenset[str] = frozenset()
        """Parameters that this server has refused."""

    def ask(self, system: str, content: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> Reply:
        """One reply to one message. Raises :class:`ChatError`."""
        attempt, without = 0, self._unsupported
        while True:
            try:
                reply = self._once(self._body(system, content, schema, without))
            except _FailedAttemptError as failure:
                if parameter := failure.parameter_beyond(without):
                    without |= {parameter}
                    continue
                if not failure.transient or attempt >= self._endpoint.retries:
                    tries = f" ({attempt + 1} attempts)" if attempt else ""
                    raise ChatError(f"{failure}{tries}") from None
                self._sleep(attempt, failure.wait)
                attempt += 1
            else:
                self._unsupported = without  # it was the parameters, not this one question
                return reply

    def _sleep(self, attempt: int, wait: float | None) -> None:
        longest = min(self._endpoint.backoff * 2**attempt, LONGEST_WAIT)
        jittered = longest * random.uniform(0.5, 1.0)  # noqa: S311 - spreads clients, hides nothing
        time.sleep(max(wait or 0.0, jittered))

    def _body(
        self, system: str, content: Sequence[Mapping[str, Any]], schema: Mapping[str, Any], without: frozenset[str]
    ) -> bytes:
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": list(content)}],
        }
        if "temperature" not in without:
            body["temperature"] = 0
        body["max_completion_tokens" if "max_tokens" in without else "max_tokens"] = self._endpoint.max_tokens
        if "json_schema" not in without:
            described = {"name": "grade", "strict": True, "schema": schema}
            body["response_format"] = {"type": "json_schema", "json_schema": described}
        elif "response_format" not in without:
            body["response_format"] = {"type": "json_object"}
        return json.dumps(body).encode("ascii")

    def _once(self, body: bytes) -> Reply:
        request = urllib.request.Request(  # noqa: S310 - check_url() lets only http and https through
            f"{self._endpoint.url}/chat/completions",
            body,
            {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "pytest-mmsafety"},
        )
        if self._endpoint.key:
            request.add_unredirected_header("Authorization", f"Bearer {self._endpoint.key}")
        until = time.monotonic() + self._endpoint.timeout
        try:
            with self._opener.open(request, timeout=self._endpoint.timeout) as answer:
                return _reply(_read(answer, until))
        except urllib.error.HTTPError as error:
            with error:
                raise self._http_failure(error, until) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError | socket.timeout):
                raise _FailedAttemptError(f"no reply within {self._endpoint.timeout:g} s", transient=True) from None
            what = " ".join(str(reason).split()) or type(reason).__name__
            raise _FailedAttemptError(f"no connection to {self._endpoint.url}: {what:.120}", transient=True) from None

    def _http_failure(self, error: urllib.error.HTTPError, until: float) -> Exception:
        try:
            said = _message(_read(error, until), self._endpoint.key)
        except (OSError, http.client.HTTPException, ChatError, _FailedAttemptError):
            said = ""
        line = f"HTTP {error.code} from {self._endpoint.url}" + (f": {said}" if said else "")
        if error.code in HOPELESS or "insufficient_quota" in said:
            return ChatClosedError(line + _HINTS.get(error.code, ""))
        if re.search("content.?(?:filter|management)", said):
            return ChatRefusedError(line)
        wait = _retry_after(error.headers.get("Retry-After"))
        if wait is not None and wait > LONGEST_WAIT:
            return ChatClosedError(f"{line}: asks to wait {wait:.0f} s, at most {LONGEST_WAIT:.0f} s are waited")
        return _FailedAttemptError(
            line, transient=error.code in TRANSIENT, wait=wait, bad_request=error.code in (400, 422)
        )


_HINTS = {
    401: "; is the variable that key_env names the right key?",
    403: "; may this key use this model?",
    404: "; are url (it usually ends in /v1) and model right?",
}


class _FailedAttemptError(Exception):
    """An attempt failed in a way that another attempt, or one without a parameter, may not."""

    def __init__(self, line: str, *, transient: bool, wait: float | None = None, bad_request: bool = False) -> None:
        super().__init__(line)
        self.transient = transient
        self.wait = wait
        self.bad_request = bad_request

    def parameter_beyond(self, dropped: frozenset[str]) -> str:
        """The parameter to leave out next, or empty. The order is that of the least loss."""
        if not self.bad_request:
            return ""
        said = str(self).lower()
        named = [name for name in ("temperature", "max_tokens") if name in said and name not in dropped]
        if named:
            return named[0]
        return next((name for name in ("json_schema", "response_format") if name not in dropped), "")


def _read(answer: IO[bytes], until: float) -> bytes:
    """The whole answer, unless it is too large or drips too slowly."""
    data = b""
    while chunk := answer.read1(65536) if hasattr(answer, "read1") else answer.read(65536):
        data += chunk
        if len(data) > MAX_REPLY:
            raise ChatError(f"reply of more than {MAX_REPLY // 2**20} MiB")
        if time.monotonic() > until:
            raise TimeoutError
    return data


def _reply(data: bytes) -> Reply:
    try:
        answer = json.loads(data)
        choice = answer["choices"][0]
        message = choice["message"]
        text = message.get("content")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise _FailedAttemptError(f"not a chat completion: {data[:80]!r}", transient=True) from None
    if isinstance(text, list):  # some servers answer in parts
        text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
    if message.get("refusal") or choice.get("finish_reason") == "content_filter":
        raise ChatRefusedError("the judging model declined, or a content filter did")
    model = answer.get("model")
    return Reply(text if isinstance(text, str) else "", model if isinstance(model, str) else "")


def _message(data: bytes, key: str) -> str:
    """What an error says of itself, in one line without the *key*."""
    text = data.decode("utf-8", "replace")
    try:
        found = json.loads(text)
        error = found.get("error", found)
        text = str(error.get("message") or error) if isinstance(error, dict) else str(error)
        if isinstance(error, dict) and error.get("code") == "insufficient_quota":
            text = f"insufficient_quota: {text}"
    except (ValueError, AttributeError, RecursionError):
        pass
    text = text.replace(key, "***") if key else text  # before it is cut, which may leave the half of one
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _retry_after(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds, from a number or an HTTP date; ``None`` if the header is neither."""
    if not value:
        return None
    if re.fullmatch(r"\d{1,9}(\.\d+)?", value.strip()):
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now())
    except (TypeError, ValueError):
        return None
