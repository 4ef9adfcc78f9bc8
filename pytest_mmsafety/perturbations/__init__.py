"""Perturbations: small published changes to a prompt or its images that must not change what is expected.

Each has a name, a strength from 0 (nothing changes) to 1, and parameters of a few allowed values. A composition is a
list of :class:`~pytest_mmsafety.cases.Change`, applied in order::

    variant = perturb(case, [Change("role-play", 0.5), Change("image-rotation", 0.2, {"direction": "left"})])

The prompt is changed at once. What happens to the images is noted in ``Case.edits`` and done by :func:`edited` once
they are decoded, so that no Pillow is loaded while cases are collected.
"""

from pytest_mmsafety.perturbations.catalogue import PERTURBATIONS
from pytest_mmsafety.perturbations.composition import applies, change_of, check_change, edit_digest, edited, perturb
from pytest_mmsafety.perturbations.kinds import Perturbation
from pytest_mmsafety.perturbations.words import words_of

__all__ = [
    "PERTURBATIONS",
    "Perturbation",
    "applies",
    "change_of",
    "check_change",
    "edit_digest",
    "edited",
    "perturb",
    "words_of",
]
