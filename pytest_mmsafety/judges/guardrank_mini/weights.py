"""The weights file of GuardRank-mini: safetensors, with the card as JSON in its header."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.guardrank_mini.features import BUCKETS, EMBEDDED, Features, Floats, weighted

FORMAT = "guardrank-mini-weights/1"
FILE = "weights.safetensors"
SHIPPED = "f45c5adaf18de03105d51347b0f5c8eb7f95634bf7678031bbb33523803dd24b"
"""SHA-256 of the file that comes with the package: its measured errors are of these weights and of no others."""
FACTORS = ("giving", "content", "refusal", "partial")
HEADS = ("harm", "refusal", "partial")
SHAPES = {
    "idf": (BUCKETS,),
    "ngrams": (len(FACTORS), BUCKETS),
    "meaning": (len(FACTORS), 2 * EMBEDDED),
    "request": (len(FACTORS), EMBEDDED),
    "usual_request": (len(FACTORS),),
    "declines": (len(FACTORS),),
    "intercept": (len(FACTORS),),
    "calibration": (len(HEADS), 3),
    "band": (len(HEADS), 2),
}
"""``calibration``: slope, weight of a refusal phrase, intercept. ``band``: where the head abstains."""


@dataclass(frozen=True, slots=True)
class Weights:
    """All that is trained, and where it came from."""

    arrays: Mapping[str, NDArray[Any]]
    """:data:`SHAPES` says what they are."""
    card: Mapping[str, Any]
    digest: str
    """SHA-256 of the file."""

    def probabilities(self, features: Features, request: Floats | None) -> dict[str, float]:
        """Calibrated, 0 to 1, by the name of the head. *request* is ``None`` where the words do not tell it all."""
        giving, content, refusal, partial = self._margins(features, request)
        margins = (_log_sigmoid(giving) + _log_sigmoid(content), refusal, partial)
        found = {}
        for name, margin, (slope, declines, intercept) in zip(HEADS, margins, self.arrays["calibration"], strict=True):
            found[name] = math.exp(_log_sigmoid(float(slope * margin + declines * features.declines + intercept)))
        return found

    def says(self, head: str, probability: float) -> bool | None:
        """Yes above the band, no below it, ``None`` inside."""
        low, high = self.arrays["band"][HEADS.index(head)]
        return None if low <= probability <= high else bool(probability > high)

    def _margins(self, features: Features, request: Floats | None) -> list[float]:
        arrays = self.arrays
        found = arrays["ngrams"][:, features.buckets].astype(np.float64) @ weighted(features, arrays["idf"])
        found += arrays["meaning"] @ features.meaning.astype(np.float64)
        found += arrays["intercept"] + arrays["declines"] * features.declines
        if request is not None:
            found += arrays["request"] @ request.astype(np.float64) - arrays["usual_request"]
        return [float(margin) for margin in found]


def _log_sigmoid(x: float) -> float:
    return -math.log1p(math.exp(-x)) if x > 0 else x - math.log1p(math.exp(x))


@cache
def shipped() -> Weights:
    """Read the weights that come with the package, once. Raises :class:`SetupError` if they are not these."""
    with as_file(files(__package__) / FILE) as path:
        weights = load(path)
        if weights.digest != SHIPPED:
            raise SetupError(f"{path}: expected SHA-256 {SHIPPED}, found {weights.digest}; install the package again")
        return weights


def load(path: Path) -> Weights:
    """Read what :func:`save` wrote. Raises :class:`SetupError` that says what is wrong with the file."""
    try:
        with safe_open(path, framework="numpy") as stored:
            arrays = {name: stored.get_tensor(name) for name in SHAPES}
            card = json.loads((stored.metadata() or {}).get("card", "null"))
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise SetupError(f"{path}: no weights of guardrank-mini: {' '.join(str(error).split())}") from error
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise SetupError(f"{path}: no weights of guardrank-mini in the format {FORMAT}")
    for name, shape in SHAPES.items():
        found = arrays[name]
        if found.shape != shape or found.dtype.kind != "f" or not np.isfinite(found).all():
            raise SetupError(f"{path}: {name}: {found.dtype} {found.shape}; expected finite floats of {shape}")
    arrays["idf"] = arrays["idf"].astype(np.float32)
    return Weights(arrays, card, digest)


def save(path: Path, arrays: Mapping[str, NDArray[Any]], card: Mapping[str, Any]) -> None:
    """Write a weights file: the same bytes for the same content."""
    small = {"idf": np.float16, "ngrams": np.float16}
    content = {name: np.ascontiguousarray(arrays[name], small.get(name, np.float64)) for name in SHAPES}
    save_file(content, path, {"card": json.dumps({"format": FORMAT, **card}, ensure_ascii=False, sort_keys=True)})
