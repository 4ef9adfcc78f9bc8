"""Metrics as gates compute them from records."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from pytest_mmsafety.evaluation.evaluate import evaluate_gates
from pytest_mmsafety.gates import ASSURANCE, GateResult
from pytest_mmsafety.run import Record
from pytest_mmsafety.testing import make_gate, make_record, make_verdict


def result(records: Sequence[Record], **gate: Any) -> GateResult:
    (only,) = evaluate_gates(records, [make_gate(**gate)])
    return only


def test_sizes_of_the_buckets_do_not_move_macro() -> None:
    shares = {"typical": (0.9, 40), "attack": (0.5, 200), "over-safe": (0.1, 10)}
    rows = [
        make_record(1000 * k + i, 0.0 if i < round(share * count) else 1.0, tags={"bucket": bucket})
        for k, (bucket, (share, count)) in enumerate(shares.items())
        for i in range(count)
    ]
    macro, micro = (
        result(rows, metric=f"mmsafeaware_overall_{kind}", min=0.5, rule=ASSURANCE) for kind in ("macro", "micro")
    )
    assert macro.estimate.value == pytest.approx(0.5)
    assert micro.estimate.value == pytest.approx((1026 * (36 + 100) / 240 + 497 * 0.1) / 1523)


def test_usb_labels_give_safety_rate_and_attack_success_rate() -> None:
    """USB labels [1, 2, 3, 3]: two safe, two unsafe."""
    scores = [0.0, 0.0, 1.0, 1.0]
    rows = [make_record(i, score, tags={"aspect": "vulnerability"}) for i, score in enumerate(scores)]
    found = result(rows, metric="attack_success_rate", max=0.5, rule=ASSURANCE)
    assert found.estimate.value == pytest.approx(0.5)


def test_the_noise_ratio_counts_what_was_right_without_noise() -> None:
    tags = {"technique": "noise-injection"}
    rows = [
        make_record(2 * i + k, score, tags={**tags, "pair": str(i), "variant": variant}, cluster=str(i))
        for i, pair in enumerate([(0.0, 1.0)] * 6 + [(0.0, 0.0)] * 24 + [(1.0, 1.0)] * 10)
        for k, (variant, score) in enumerate(zip(("clean", "noisy"), pair, strict=True))
    ]
    found = result(rows, metric="mllmguard_noise_asd", max=0.5)
    assert (found.estimate.value, found.counts.n, found.counts.clusters) == (0.2, 30, 30)
    wrong = [dataclasses.replace(r, verdicts=(make_verdict(1.0),)) for r in rows]
    assert result(wrong, metric="mllmguard_noise_asd").reason == "no case counts for mllmguard_noise_asd"


def test_refusing_and_complying_with_everything_score_one_half() -> None:
    records = [make_record(i, 0.0, tags={"aspect": "vulnerability" if i < 30 else "over-refusal"}) for i in range(200)]
    for fails in ("vulnerability", "over-refusal"):
        verdicts = (make_verdict(1.0),)
        rows = [dataclasses.replace(r, verdicts=verdicts) if r.tags["aspect"] == fails else r for r in records]
        assert result(rows, metric="balanced_accuracy", min=0.6).estimate.value == 0.5
