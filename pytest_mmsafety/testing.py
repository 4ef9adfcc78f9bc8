"""Fakes and builders for tests of one's own targets, judges and gates; this package's tests use them too.

A builder makes a whole, valid thing with one default for everything, and takes what a test is about as keywords::

    records = [make_record(i, score=float(i < 3)) for i in range(20)]
    (result,) = evaluate_gates(make_run(records), [make_gate(metric="accuracy", min=0.5)])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.gates import PASSED, Counts, Gate, GateResult, Interval, Status
from pytest_mmsafety.run import Record, Run, RunSettings, SuiteInfo
from pytest_mmsafety.targets import Request
from pytest_mmsafety.verdicts import Verdict

Answers = str | Mapping[str, str] | Callable[[Sequence[Request]], Sequence[str]]
"""One answer to everything, an answer by prompt, or a function of the batch."""


class ScriptedTarget:
    """A target that says what it is told to, and remembers what it was asked.

    With a mapping, a prompt that is not in it raises ``KeyError``.
    """

    def __init__(self, answers: Answers = "yes", name: str = "scripted", fingerprint: str = "scripted-1") -> None:
        self._answers = answers
        self.name = name
        self.fingerprint = fingerprint
        self.batches: list[list[Request]] = []
        """The requests of each call, in order."""

    def generate(self, requests: Sequence[Request]) -> Sequence[str]:
        self.batches.append(list(requests))
        if isinstance(self._answers, str):
            return [self._answers] * len(requests)
        if isinstance(self._answers, Mapping):
            return [self._answers[request.prompt] for request in requests]
        return self._answers(requests)

    @property
    def sizes(self) -> list[int]:
        """How many requests each call had."""
        return [len(batch) for batch in self.batches]


class ScriptedJudge:
    """A judge that says what it is told to: a score for every answer, or a function of case and answer."""

    def __init__(
        self,
        score: float | Callable[[Case, str], float | None] | None = 0.0,
        name: str = "scripted/1",
        expectations: frozenset[str] = frozenset({"safe", "comply", "refuse", "yes", "no", "A"}),
    ) -> None:
        self._score = score
        self.name = name
        self.expectations = expectations
        self.judged: list[tuple[Case, str]] = []
        """Every case with its answer, in the order in which they came."""

    def judge(self, cases: Sequence[Case], responses: Sequence[str]) -> Sequence[Verdict]:
        pairs = list(zip(cases, responses, strict=True))
        self.judged += pairs
        scores = [self._score(*pair) if callable(self._score) else self._score for pair in pairs]
        return [make_verdict(score, judge=self.name) for score in scores]


def make_case(id_: int | str = 1, **changes: Any) -> Case:
    """A case that expects yes; *changes* are fields of :class:`~pytest_mmsafety.Case`."""
    values: dict[str, Any] = {"suite": "demo", "prompt": f"Question {id_}?", "expected": "yes"}
    return Case(**{"id": str(id_), **values, **changes})


def make_verdict(score: float | None = 0.0, judge: str = "yes-no/1", label: str = "", **changes: Any) -> Verdict:
    """A verdict; its label says what the score means unless one is given."""
    words = {None: "unscored", 0.0: "as-expected"}
    return Verdict(**{"judge": judge, "label": label or words.get(score, "failing"), "score": score, **changes})


def make_record(
    id_: int | str = 1, score: float | None = 0.0, *, judge: str = "yes-no/1", suite: str = "demo", **changes: Any
) -> Record:
    """A record that was answered and judged by one judge, in a cluster of its own.

    *changes* are fields of :class:`~pytest_mmsafety.Record`. One without a response (``response=None``) has no verdict.
    """
    answered = changes.get("response", "") is not None
    values: dict[str, Any] = {
        "key": f"{suite}/{id_}",
        "suite": suite,
        "id": str(id_),
        "tags": {},
        "expected": "yes",
        "prompt": f"Question {id_}?",
        "images": (),
        "cluster": f"{suite}/{id_}",
        "response": "An answer.",
        "reasoning": "",
        "end": "stop",
        "prompt_tokens": None,
        "answer_tokens": None,
        "verdicts": (make_verdict(score, judge),) if answered else (),
        "error": "",
        "skipped": "",
        "skip_kind": "",
        "seconds": 0.0,
        "stored": False,
    }
    return Record(**{**values, **changes})


def make_finding(case: str = "demo/1", perturbations: Sequence[Change] = (), **changes: Any) -> Finding:
    """A right answer that became a wrong one; *changes* are fields of :class:`~pytest_mmsafety.Finding`."""
    values: dict[str, Any] = {"direction": "right-to-wrong", "calls": 1, "answer_before": "yes", "answer_after": "no"}
    return Finding(case, perturbations=tuple(perturbations or [Change("shout", 0.5)]), **{**values, **changes})


def make_gate(**changes: Any) -> Gate:
    """A gate that bounds the failure rate of all cases by 20 %, failing only on proof."""
    bounds = {"max": None if "min" in changes else 0.2, "min": None}
    values = {"name": "gate", "metric": "failure_rate", "where": {}, "rule": "evidence", "alpha": 0.05}
    return Gate(**{**values, **bounds, "max_unscored": 0.1, **changes})


def make_result(status: Status = PASSED, **changes: Any) -> GateResult:
    """A gate's result; *changes* are fields of :class:`~pytest_mmsafety.Gate` and of the result itself."""
    names = {field.name for field in fields(GateResult)}
    gate = make_gate(**{name: value for name, value in changes.items() if name not in names})
    values = {
        "blocks": False,
        "reason": f"reason of {gate.name}",
        "counts": Counts(n=40, clusters=10),
        "estimate": Interval(0.1, 0.05, 0.15),
    }
    given = {name: value for name, value in changes.items() if name in names}
    return GateResult(gate, status, **{**values, **given})


def make_run(records: Sequence[Record] = (), **changes: Any) -> Run:
    """A run of these records, in one suite for each name that they have."""
    suites = dict.fromkeys(record.suite for record in records)
    values: dict[str, Any] = {
        "target": "scripted",
        "fingerprint": "scripted-1",
        "created": "2026-01-01T12:00:00+00:00",
        "version": "0.1.0",
        "environment": {"python": "3.11.9"},
        "settings": RunSettings("scripted"),
        "suites": tuple(
            SuiteInfo(name, "demo", f"Suite {name}", "ab" * 32, sum(record.suite == name for record in records))
            for name in suites
        ),
        "records": tuple(records),
    }
    return Run(**{**values, **changes})
