"""How often GuardRank-mini errs, as a file of judge errors: from the figures that its training wrote into the card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pytest_mmsafety.judge_errors import JudgeErrors, Stratum
from pytest_mmsafety.training.mini.sources import SOURCES

COUNTS = ("tp", "fp", "tn", "fn", "abstained_positive", "abstained_negative")
CLUSTERS = ("clusters", "positive_clusters", "negative_clusters")


def errors_of(card: Mapping[str, Any], judge: str) -> JudgeErrors:
    """Errors on harm as a whole, by language and by source, and those on refusals under ``expected: comply``.

    Each source counts once: where the judge was tested both without it and without some of its questions, the latter,
    since that is how it was calibrated. Sources that are unlike answers to requests are left out of the whole.
    """
    unlike = {source.name for source in SOURCES if not source.alike}
    harm, refusal = (_once(card["figures"], head) for head in ("harm", "refusal"))
    whole = [one for one in harm if one["source"] not in unlike]
    languages = sorted({one["language"] for one in whole})
    strata = [
        _stratum({}, whole),
        *(_stratum({"language": name}, [one for one in whole if one["language"] == name]) for name in languages),
        *(_stratum({"source": one["source"]}, [one]) for one in harm),
        *([_stratum({"expected": "comply"}, refusal)] if refusal else []),
    ]
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return JudgeErrors(judge, created, 0.5, effective=False, files={}, strata=tuple(strata))


def _once(figures: Iterable[Mapping[str, Any]], head: str) -> list[Mapping[str, Any]]:
    of_head = [one for one in figures if one["head"] == head]
    chosen = {one["source"]: one for one in sorted(of_head, key=lambda one: one["how"] == "questions")}
    return list(chosen.values())


def _stratum(by: Mapping[str, str], figures: Sequence[Mapping[str, Any]]) -> Stratum:
    sums: Counter[str] = Counter()
    for one in figures:
        sums.update(one["counts"])
    n = sum(sums[name] for name in COUNTS)
    sources = tuple(sorted(one["source"] for one in figures))
    return Stratum(by=by, n=n, **{name: sums[name] for name in (*COUNTS, *CLUSTERS)}, sources=sources)
