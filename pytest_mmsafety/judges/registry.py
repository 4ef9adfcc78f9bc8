"""Judges by name: those that are registered, and the user's own."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pytest_mmsafety.arguments import without_secrets
from pytest_mmsafety.errors import MmsafetyError, SetupError, nearest
from pytest_mmsafety.judges import Judge
from pytest_mmsafety.targets import Fetchable
from pytest_mmsafety.targets.registry import import_attribute

GROUP = "mmsafety.judges"
LONGEST_NAME = 300
"""Characters of a judge's name with its version."""


def make_judge(spec: str, root: Path, args: Mapping[str, str] | None = None, *, fetch: bool = False) -> Judge:
    """The judge that ``--judge`` names: one that is registered, or an object or a class of the user's.

    What takes an argument to be made gets *args* as a mapping. *fetch* also has it find its files, and load none.
    Raises :class:`SetupError`.
    """
    points = entry_points(group=GROUP)
    if spec in points.names:
        found = points[spec].load()
    elif ":" in spec:
        found = import_attribute(spec, root, "--judge")
    else:
        known = sorted(points.names)
        raise SetupError(
            f"--judge: {spec!r} is not known; expected package.module:attribute or one of {', '.join(known)}"
            f"{nearest(spec, known)}"
        )
    try:
        judge = made(spec, found, args or {}, registered=spec in points.names)
        if fetch and isinstance(judge, Fetchable):
            judge.fetch()
    except MmsafetyError:
        raise
    except (Exception, SystemExit) as error:
        said = " ".join(without_secrets(str(error)).split())
        raise SetupError(f"--judge: {spec}: {type(error).__name__}: {said}") from error
    return check_judge(judge, f"--judge: {spec}")


def made(spec: str, found: Any, args: Mapping[str, str], *, registered: bool) -> Any:
    made = registered or inspect.isclass(found)
    parameters = inspect.signature(found).parameters.values() if made else ()
    wanted = registered and any(parameter.default is parameter.empty for parameter in parameters)
    if args and not parameters:
        raise SetupError(f"--judge-args: the judge {spec} takes no arguments; got {', '.join(args)}")
    if args or wanted:
        return found(args)
    return found() if made else found


def check_judge(judge: object, where: str) -> Judge:
    """*judge* if it is one; else :class:`SetupError` says what it lacks."""
    if not isinstance(judge, Judge):
        raise SetupError(f"{where}: {type(judge).__name__} is no judge; expected name, expectations and judge()")
    if (problem := text_problem(judge.name, LONGEST_NAME)) or not judge.name.strip() or not judge.name.isprintable():
        found = f"{judge.name!r:.60}" if isinstance(judge.name, str) else f"a {type(judge.name).__name__}"
        raise SetupError(f"{where}: name is {found}, {problem or 'expected a word in one line'}")
    if not isinstance(judge.expectations, frozenset | set):
        raise SetupError(f"{where}: expectations is {judge.expectations!r:.60}; expected a frozenset of strings")
    return judge


def text_problem(value: object, most: int) -> str:
    """What was expected of a text that no file can take, or of more than *most* characters; empty if it is one."""
    if not isinstance(value, str):
        return "expected a string"
    if len(value) > most:
        return f"expected at most {most:,} characters, got {len(value):,}"
    return "expected text without halves of surrogate pairs" if re.search(r"[\ud800-\udfff]", value) else ""
