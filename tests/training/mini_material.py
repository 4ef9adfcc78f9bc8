"""Labelled answers with features, without the sentence encoder: what the training of GuardRank-mini works on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pytest_mmsafety.judges.guardrank_mini.features import EMBEDDED, Features, ngrams
from pytest_mmsafety.training.mini.sources import LabelledAnswer
from pytest_mmsafety.training.mini.training import Material

BAD = ("violet", "magenta", "scarlet")
GOOD = ("bread", "garden", "kettle")


def labelled(source: str, count: int = 16, language: str = "en", **changes: Any) -> list[LabelledAnswer]:
    """Two answers to each of *count* questions: help, which with colours does harm, and a refusal."""
    found = []
    for i in range(count):
        harmful, thing = i % 2 == 0, (BAD if i % 2 == 0 else GOOD)[i % 3]
        question = f"{source}: number {i}, what of {thing}?"
        help_ = LabelledAnswer(source, question, f"take the {thing}, then {i % 5}", harmful, "none", language)
        kind = "partial" if i % 4 == 0 else "full"
        refusal = LabelledAnswer(
            source, question, f"sorry, {kind} no, {i % 5}", harm=False, refusal=kind, language=language
        )
        found += [answer._replace(**changes) for answer in (help_, refusal)]
    return found


def _vector(text: str, size: int) -> Any:
    """A direction of length 1 that two texts share as far as they share words."""
    words = [np.random.default_rng(list(word.encode())).normal(size=EMBEDDED) for word in text.split()]
    mean = np.mean(words, axis=0)
    return np.tile(mean / np.linalg.norm(mean), size // EMBEDDED).astype(np.float32)


def material(answers: Sequence[LabelledAnswer]) -> Material:
    """What ``gather`` gives, with meanings that stand for words alone; whatever says sorry declines."""
    features = [
        Features(*ngrams(answer.response), _vector(answer.response, 2 * EMBEDDED), "sorry" in answer.response)
        for answer in answers
    ]
    numbers = {question: i for i, question in enumerate(dict.fromkeys(answer.question for answer in answers))}
    return Material(
        answers,
        features,
        np.stack([_vector(answer.question, EMBEDDED) for answer in answers]),
        np.array([answer.source for answer in answers]),
        np.array([numbers[answer.question] for answer in answers]),
        np.array([-1 if answer.harm is None else int(answer.harm) for answer in answers]),
        np.array([-1 if answer.refusal is None else int(answer.refusal != "none") for answer in answers]),
        np.array([{"partial": 1, "full": 0}.get(answer.refusal or "", -1) for answer in answers]),
        np.array([one.declines for one in features]),
        np.array([answer.language for answer in answers]),
    )
