"""Targets by name: ``--model`` as an entry point, the user's own object, or a checkpoint."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pytest_mmsafety.cases import Response
from pytest_mmsafety.errors import SetupError, nearest
from pytest_mmsafety.targets import Fetchable, Releasable, Remarking, Request, Target

GROUP = "mmsafety.targets"


def find_target(spec: str, args: Mapping[str, str], root: Path, *, fetch: bool = True) -> Callable[[], Target]:
    """What makes the target that ``--model`` names; no weights are loaded before it is called.

    *spec* is the name of an entry point, ``package.module:attribute`` (importable from *root* too), a
    folder with a transformers checkpoint, or the id of one on the hub. *fetch* has it find its files, after a
    download if need be. Raises :class:`SetupError`.
    """
    registered = entry_points(group=GROUP)
    if spec in registered.names:
        target = registered[spec].load()(**args)
        if fetch and isinstance(target, Fetchable):
            target.fetch()
        return lambda: _Users(target, spec, "", args)
    if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", spec):
        return _users_target(spec, args, root)
    if _exists(spec) or re.fullmatch(r"[\w.-]+/[\w.-]+", spec):
        from pytest_mmsafety.targets.checkpoint.target import TransformersTarget

        checkpoint = TransformersTarget(spec, **args)
        if fetch:
            checkpoint.fetch()
        return lambda: checkpoint
    if spec.startswith((".", "/", "~")):
        raise SetupError(f"--model: {spec}: there is no such folder")
    known = ", ".join(sorted(registered.names))
    near = nearest(spec, [*registered.names, *(folder.name for folder in root.iterdir() if folder.is_dir())])
    raise SetupError(
        f"--model: {spec!r} is not known; expected a checkpoint folder, a hub id (owner/name), "
        f"package.module:attribute, or one of {known}{near}"
    )


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long for a name, or not one at all
        return False


def _users_target(spec: str, args: Mapping[str, str], root: Path) -> Callable[[], Target]:
    found = import_attribute(spec, root, "--model")
    fallback = _source_fingerprint(spec, args, found)
    if inspect.isclass(found) and hasattr(found, "generate"):
        return lambda: _Users(found(**args), spec, fallback, args)
    if args:
        raise SetupError(f"--model-args: {spec} is no class, so it takes no arguments; got {', '.join(args)}")
    if hasattr(found, "generate"):
        return lambda: _Users(found, spec, fallback)
    if callable(found) and not inspect.isclass(found):
        return lambda: _Users(_Function(found), spec, fallback)
    raise SetupError(f"--model: {spec} is {found!r:.60}; expected a class or object with generate(), or a function")


def import_attribute(spec: str, root: Path, option: str) -> Any:
    """``package.module:attribute``, imported as if from *root*. Raises :class:`SetupError` in one line."""
    module_name, _, attribute = spec.partition(":")
    if str(root) not in sys.path:  # for good: what the user's code imports when it runs lies there too
        sys.path.insert(0, str(root))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise SetupError(f"{option}: {spec}: cannot import {module_name}: {reason}") from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        raise SetupError(f"{option}: {module_name} has no {attribute!r}{nearest(attribute, vars(module))}") from None


@dataclass(frozen=True, slots=True)
class _Function:
    """A plain function as a target."""

    generate: Callable[[Sequence[Request]], Sequence[str | Response]]


class _Users:
    """A user's target, with a name and a fingerprint if it has none of its own.

    Arguments are a part of the fingerprint, whatever the target says: they can change every answer.
    """

    def __init__(
        self, target: Any, spec: str, fingerprint: str, args: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self._target = target
        self.name: str = getattr(target, "name", spec)
        self.fingerprint: str = getattr(target, "fingerprint", fingerprint)
        for field in ("name", "fingerprint"):
            if not isinstance(getattr(self, field), str):
                raise SetupError(f"--model: {spec}: {field} is {getattr(self, field)!r:.60}; expected a string")
        if args:
            self.fingerprint = hashlib.sha256(json.dumps([self.fingerprint, sorted(args.items())]).encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> Sequence[str | Response]:
        answers: Sequence[str | Response] = self._target.generate(requests)
        return answers

    @property
    def remarks(self) -> Sequence[str]:
        return self._target.remarks if isinstance(self._target, Remarking) else ()

    def release(self) -> None:
        if isinstance(self._target, Releasable):
            self._target.release()


def _source_fingerprint(spec: str, args: Mapping[str, str], found: object) -> str:
    """Over the module's source: the best that can be known of a target that does not say."""
    module = sys.modules.get(getattr(found, "__module__", "") or type(found).__module__)
    file = getattr(module, "__file__", None)
    source = Path(file).read_bytes() if file and Path(file).is_file() else b""
    return hashlib.sha256(json.dumps([spec, dict(sorted(args.items()))]).encode() + source).hexdigest()
