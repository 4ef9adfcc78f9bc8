"""Changes applied to a case, in order."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from pytest_mmsafety.cases import Case, Change, ImageEdit, Parameter
from pytest_mmsafety.errors import nearest
from pytest_mmsafety.perturbations.catalogue import PERTURBATIONS
from pytest_mmsafety.perturbations.kinds import Asked, Perturbation

if TYPE_CHECKING:
    from PIL.Image import Image


def perturb(case: Case, changes: Sequence[Change]) -> Case:
    """*case* after *changes*, in order. Raises ``ValueError`` for a change that there is not (:func:`check_change`).

    A change of strength 0 changes nothing, nor does one that does not suit the case: of images where there are none, or
    one that could make another answer the right one.
    """
    asked = Asked(case.prompt, case.expected, language_of(case))
    edits = list(case.edits)
    for change in changes:
        check_change(change)
        kind = PERTURBATIONS[change.name]
        if not change.strength or (kind.edits_images and not case.images) or _misleads(kind, case):
            continue
        told = {**{name: values[0] for name, values in kind.settings.items()}, **change.parameters}
        if kind.rewrite:
            asked = kind.rewrite(replace(asked, drawn=""), change.strength, told)
        if kind.edits_images and (asked.drawn or not kind.rewrite):
            done = replace(change, parameters=told, strength=change.strength if kind.graded else 1.0)
            edits.append(ImageEdit(done, asked.drawn if kind.rewrite else ""))
    return replace(case, prompt=asked.prompt, expected=asked.expected, edits=tuple(edits))


def _misleads(kind: Perturbation, case: Case) -> bool:
    """Whether the right answer to the case could be another one after the change."""
    factual = case.expected not in ("safe", "comply", "refuse")
    return factual and kind.unsuited is not None and kind.unsuited.search(case.prompt) is not None


def language_of(case: Case) -> str:
    """``zh`` or ``en``: by the tag, else by the letters of the prompt."""
    if tag := case.tags.get("language", ""):
        return "zh" if tag.startswith("zh") else "en"
    return "zh" if any("\u4e00" <= letter <= "\u9fff" for letter in case.prompt) else "en"


def applies(case: Case, change: Change) -> bool:
    """Whether *change* changes anything of *case*."""
    changed = perturb(case, [change])
    return (changed.prompt, changed.edits) != (case.prompt, case.edits)


def check_change(change: Change) -> None:
    """Raise ``ValueError`` in one line for an unknown name or parameter, or a value that is not allowed."""
    kind = PERTURBATIONS.get(change.name)
    if kind is None:
        problem = f"{change.name!r} is no perturbation; expected one of {', '.join(PERTURBATIONS)}"
        raise ValueError(f"{problem}{nearest(change.name, PERTURBATIONS)}")
    if not 0 <= change.strength <= 1:
        raise ValueError(f"{change.name}: strength {change.strength!r}; expected a number from 0 to 1")
    for name, value in change.parameters.items():
        if name == "words" and kind.by_word:
            if not isinstance(value, tuple) or not all(isinstance(i, int) and i >= 0 for i in value):
                raise ValueError(f"{change.name}: words: {value!r:.60}; expected indices of words, from 0")
        elif name not in kind.settings:
            known = [*kind.settings, *(["words"] if kind.by_word else [])]
            expected = f"expected {', '.join(known)}" if known else "it has none"
            raise ValueError(f"{change.name}: {name!r} is no parameter of it; {expected}{nearest(name, known)}")
        elif value not in kind.settings[name]:
            allowed = ", ".join(map(str, kind.settings[name]))
            raise ValueError(f"{change.name}: {name}: {value!r:.60}; expected one of {allowed}")


# --- what happens to images


def edited(images: Sequence[Image], edits: Sequence[ImageEdit]) -> tuple[Image, ...]:
    """The images, RGB, after *edits*; they themselves stay as they are."""
    from pytest_mmsafety.perturbations.images import EDITS

    for edit in edits:
        change, work = edit.change, EDITS[edit.change.name]
        images = [work(image, change.strength, change.parameters, edit.text) for image in images]
    return tuple(images)


def edit_digest(sha256: str, edits: Sequence[ImageEdit]) -> str:
    """What stands for an image, known by the SHA-256 of its file, after *edits*: SHA-256 of file and recipe.

    The versions of the libraries that draw are part of it, so no answer is taken for one to other pixels.
    """
    if not edits:
        return sha256
    recipe = [[asdict(edit), PERTURBATIONS[edit.change.name].version] for edit in edits]
    return hashlib.sha256(json.dumps([sha256, recipe, _libraries()], sort_keys=True).encode()).hexdigest()


@cache
def _libraries() -> tuple[str, ...]:
    return tuple(_version(name) for name in ("pillow", "numpy", "manimgx-fonts-cjk"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def change_of(data: Mapping[str, object]) -> Change:
    """The change that ``dataclasses.asdict`` or JSON made *data* of. Raises ``ValueError``."""
    parameters: dict[str, Parameter] = {}
    given = data.get("parameters") or {}
    name, strength = data.get("name"), data.get("strength")
    if not isinstance(given, Mapping) or not isinstance(name, str) or not isinstance(strength, int | float):
        raise ValueError(f"{dict(data)!r:.80} is no change; expected name, strength and parameters")
    for key, value in given.items():
        parameters[str(key)] = tuple(value) if isinstance(value, list) else value
    change = Change(name, float(strength), parameters)
    check_change(change)
    return change
