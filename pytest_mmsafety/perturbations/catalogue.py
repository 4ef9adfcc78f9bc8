"""All perturbations, by name."""

from __future__ import annotations

from pytest_mmsafety.perturbations.kinds import Perturbation

PERTURBATIONS: dict[str, Perturbation] = {}
