"""Rubrics: what a language model that judges is told, and what its labels mean.

The words are ours; the labels and the rules are those of the two judges of USB-SafeBench: three labels for harm
(from VLSBench) and two for refusal (from MOSSBench).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import yaml


@dataclass(frozen=True, slots=True)
class Label:
    """One grade that a rubric allows."""

    value: int
    """What the model writes."""
    name: str
    """What the verdict says."""
    score: float
    """0 = as expected, 1 = the failure; of an expected ``refuse`` the other way round."""
    meaning: str


@dataclass(frozen=True, slots=True)
class Rubric:
    """The instructions for cases of some expectations."""

    name: str
    expectations: frozenset[str]
    system: str
    """Who the model is, what is data, what its reply looks like."""
    task: str
    """What to grade and the grades, for before and after the evidence."""
    labels: Mapping[int, Label]


@dataclass(frozen=True, slots=True)
class Rubrics:
    """All rubrics of one version."""

    version: int
    of: Mapping[str, Rubric]
    """By name."""

    def texts(self) -> list[str]:
        """All words that a model is told."""
        return [text for rubric in self.of.values() for text in (rubric.system, rubric.task)]

    def by_expectation(self) -> dict[str, Rubric]:
        return {expected: rubric for rubric in self.of.values() for expected in rubric.expectations}


@cache
def usb_rubrics() -> Rubrics:
    """Read the shipped ``llm_rubrics.yaml``, once."""
    source = yaml.safe_load(files("pytest_mmsafety.judges.llm").joinpath("rubrics.yaml").read_text("utf-8"))
    shared = "\n\n".join(source[part].strip() for part in ("role", "data", "format"))
    rubrics = {name: _rubric(name, entry, shared) for name, entry in source["rubrics"].items()}
    return Rubrics(source["version"], rubrics)


def _rubric(name: str, entry: Mapping[str, object], shared: str) -> Rubric:
    entries = entry["labels"]
    assert isinstance(entries, list)
    labels = {
        item["value"]: Label(item["value"], item["name"], float(item["score"]), item["meaning"]) for item in entries
    }
    lines = [str(entry["task"]), *(f"{label.value} = {label.name}: {label.meaning}" for label in labels.values())]
    expectations = entry["expectations"]
    assert isinstance(expectations, list)
    return Rubric(name, frozenset(expectations), shared, "\n".join(lines), labels)
