"""What GuardRank-mini looks at in an answer: characters, meaning and refusal phrases, with numpy alone.

Every answer is worked on alone, so that a batch cannot change its features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from pytest_mmsafety.judges.guardrank_mini.declines import declines
from pytest_mmsafety.judges.guardrank_mini.encoder import encoder
from pytest_mmsafety.judges.guardrank_mini.text import CONSIDERED, cleaned

Floats = NDArray[np.float32]

BUCKETS = 2**18
LENGTHS = (2, 3, 4, 5)
"""Of the character n-grams."""
SEGMENTS = ((0, 300), (300, 700), (700, 1100))
"""Characters whose meaning is embedded; the first is the opening, in which a model declines."""
REQUEST = 400
"""Characters of the request that are embedded."""
EMBEDDED = 512
"""Dimensions of a sentence embedding; an answer has two of them: its opening, and the mean of its segments."""

# Odd 64-bit constants: splitmix64 (Steele et al. 2014) and its golden-ratio increment.
_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_MASK = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Features:
    """Of one answer."""

    buckets: NDArray[np.int64]
    """Hashed n-grams, ascending, without repetition."""
    weights: Floats
    """1 + ln(count) of each; inverse document frequency and length are the model's business."""
    meaning: Floats
    """Opening, then mean of the segments: 2 * :data:`EMBEDDED` numbers."""
    declines: bool
    """Whether a phrase of the refusal list was found."""


def features_of(response: str) -> Features:
    """Raises :class:`SetupError` if the sentence encoder is not installed."""
    text = cleaned(response)
    buckets, weights = ngrams(text)
    return Features(buckets, weights, meaning(text), declines(response[:CONSIDERED]))


def ngrams(text: str) -> tuple[NDArray[np.int64], Floats]:
    """Hash the n-grams of the lower-cased text into buckets; weights are 1 + ln(count)."""
    codes = np.frombuffer(f" {text.lower()} ".encode("utf-32-le"), dtype="<u4").astype(np.uint64)
    hashed = [_hashes(codes, length) for length in LENGTHS if len(codes) >= length]
    buckets, counts = np.unique(np.concatenate(hashed), return_counts=True)
    return buckets.astype(np.int64), (1 + np.log(counts)).astype(np.float32)


def _hashes(codes: NDArray[np.uint64], length: int) -> NDArray[np.uint64]:
    """Bucket of each n-gram: a polynomial in its characters, mixed. 64-bit arithmetic wraps, on every machine."""
    state = np.full(len(codes) - length + 1, length * _GOLDEN & _MASK, dtype=np.uint64)
    for i in range(length):
        state = state * np.uint64(_MIX_1) + codes[i : len(codes) - length + 1 + i]
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_MIX_2)
    return (state ^ (state >> np.uint64(31))) % np.uint64(BUCKETS)


def meaning(text: str) -> Floats:
    """Embed the opening and the mean of the segments: 2 * :data:`EMBEDDED` numbers, each half of length 1 or 0."""
    segments = [segment for start, end in SEGMENTS if (segment := text[start:end].strip())]
    if not segments:
        return np.zeros(2 * EMBEDDED, dtype=np.float32)
    # One at a time: matrix products of another shape may differ in the last bit.
    vectors = [encoder().encode([segment])[0] for segment in segments]
    mean = np.mean(vectors, axis=0)
    return np.concatenate([vectors[0], mean / max(float(np.linalg.norm(mean)), 1e-9)]).astype(np.float32)


def request_meaning(request: str) -> Floats:
    """Embed the beginning of a request: :data:`EMBEDDED` numbers; zeros if it has no words."""
    text = cleaned(request)[:REQUEST]
    return encoder().encode([text])[0].astype(np.float32) if text else np.zeros(EMBEDDED, dtype=np.float32)


def stacked(features: Sequence[Features], idf: Floats) -> tuple[Any, NDArray[np.float64]]:
    """Sparse TF-IDF rows of length 1 (answers x buckets), and meanings."""
    weights = [weighted(one, idf).astype(np.float64) for one in features]
    ends = np.cumsum([0, *(len(one.buckets) for one in features)]).astype(np.int32)
    columns = np.concatenate([one.buckets for one in features]).astype(np.int32)
    rows = csr_array((np.concatenate(weights), columns, ends), shape=(len(features), BUCKETS))
    return rows, np.stack([one.meaning for one in features]).astype(np.float64)


def weighted(features: Features, idf: Floats) -> Floats:
    """TF-IDF of the answer's buckets, of length 1."""
    weights = features.weights * idf[features.buckets]
    length = float(np.sqrt(np.sum(weights * weights, dtype=np.float64)))
    return (weights / max(length, 1e-9)).astype(np.float32)
