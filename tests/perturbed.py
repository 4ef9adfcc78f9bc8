"""Perturbations for tests: one of text and one of images, and a case with what they make of it."""

from __future__ import annotations

from dataclasses import replace

from pytest_mmsafety.perturbations import Perturbation
from pytest_mmsafety.perturbations.kinds import Asked, Parameters


def _shout(asked: Asked, strength: float, parameters: Parameters) -> Asked:
    return replace(asked, prompt=f"{asked.prompt}{parameters['mark']}" * (2 if strength > 0.5 else 1))


SHOUT = Perturbation("shout", "ends in marks", "tests", rewrite=_shout, settings={"mark": ("!", "?")}, by_word=True)
BLUR = Perturbation("blur", "blurs the images", "tests", edits_images=True)
BOTH = {"shout": SHOUT, "blur": BLUR}
