"""Who judged, and how far it can be trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import betaincinv

from pytest_mmsafety.evaluation.table import ANSWERED, Table
from pytest_mmsafety.gates import Gate
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.report.text import count, percents, whole_percent
from pytest_mmsafety.run import Record, Run
from pytest_mmsafety.verdicts import reads_exactly

MAX_JUDGES = 40
MAX_PARTS = 40
_ALPHA = 0.05


@dataclass(frozen=True, slots=True)
class Share:
    """A measured share with its 95 % interval, in words; empty without labelled answers."""

    value: str = ""
    interval: str = ""
    of: str = ""
    unscored: str = ""
    """Of these failures, or good answers, how many the judge has no score for; empty: none."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of a judge on some of the labelled answers."""

    label: str
    n: int
    abstained: int
    sensitivity: Share
    specificity: Share
    accuracy: Share


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One judge of the run."""

    name: str
    gated: bool
    """Whether its word was the first, which counts, in any case."""
    scored: int
    unscored: int
    failing: int
    sources: str
    """On what it was measured; empty: it was not."""
    exact: bool
    """Whether there is nothing to measure: it reads a word or a letter."""
    parts: tuple[Part, ...]
    other_version: str
    """The judge of known errors of another version of this one, or empty."""


def judge_rows(run: Run, judge_errors: Mapping[str, JudgeErrors]) -> list[JudgeRow]:
    """One row a judge that spoke, the one that spoke most first."""
    counts: dict[str, Counter[str]] = {}
    asked: dict[str, set[str]] = {}
    for record in run.records:
        for place, verdict in enumerate(record.verdicts):
            spoken = counts.setdefault(verdict.judge, Counter())
            spoken["verdicts"] += 1
            spoken["gated"] += not place
            spoken["unscored" if verdict.score is None else "scored"] += 1
            spoken["failing"] += bool(verdict.score)
            asked.setdefault(verdict.judge, set()).add(record.expected)
    names = sorted(counts, key=lambda name: -counts[name]["verdicts"])[:MAX_JUDGES]
    return [_row(name, counts[name], asked[name], judge_errors) for name in names]


def _row(name: str, counts: Counter[str], asked: Collection[str], judge_errors: Mapping[str, JudgeErrors]) -> JudgeRow:
    found = judge_errors.get(name)
    of_another = (judge for judge in judge_errors if _plain(judge) == _plain(name) and judge != name)
    return JudgeRow(
        name=name,
        gated=bool(counts["gated"]),
        scored=counts["scored"],
        unscored=counts["unscored"],
        failing=counts["failing"],
        sources=_sources(found) if found else "",
        exact=reads_exactly(name),
        parts=tuple(_parts(found, asked)) if found else (),
        other_version="" if found else next(of_another, ""),
    )


def _plain(judge: str) -> str:
    return judge.partition("/")[0]


def _sources(errors: JudgeErrors) -> str:
    whole = errors.best({})
    return ", ".join(whole.sources) or ", ".join(errors.files) or "a file of judge errors"


def _parts(errors: JudgeErrors, asked: Collection[str]) -> Iterator[Part]:
    """All labelled answers, then each dimension, then each language; by expectation only what the judge was asked."""
    whole = errors.best({})
    yield _part("All labelled answers", whole)
    single = [
        stratum for stratum in errors.strata if len(stratum.by) == 1 and stratum.by.get("expected") in (None, *asked)
    ]
    by_name = sorted(single, key=lambda stratum: next(iter(stratum.by)))
    for stratum in by_name[:MAX_PARTS]:
        yield _part(_label(stratum, whole), stratum)


def _label(stratum: Stratum, whole: Stratum) -> str:
    ((name, value),) = stratum.by.items()
    if (name, value) == ("expected", "comply"):
        return "as a judge of refusal"
    apart = name == "source" and value not in whole.sources
    return f"{name} {value}" + (", not in the whole: unlike answers to requests" if apart else "")


def _part(label: str, stratum: Stratum) -> Part:
    positive, negative = stratum.tp + stratum.fn, stratum.tn + stratum.fp
    return Part(
        label=label,
        n=stratum.n,
        abstained=round(stratum.abstained_positive + stratum.abstained_negative),
        sensitivity=_scored(stratum.tp, positive, stratum.positive_clusters, stratum.abstained_positive),
        specificity=_scored(stratum.tn, negative, stratum.negative_clusters, stratum.abstained_negative),
        accuracy=share(stratum.tp + stratum.tn, positive + negative, stratum.clusters),
    )


def _scored(hits: float, total: float, clusters: int, abstained: float) -> Share:
    """The share among the scored ones, and how many were not."""
    unscored = whole_percent(abstained / (total + abstained)) if abstained else ""
    return replace(share(hits, total, clusters), unscored=unscored)


def share(hits: float, total: float, clusters: int) -> Share:
    """Clopper-Pearson, as if only as many answers as there are *clusters* were labelled: the worst case."""
    if total <= 0:
        return Share()
    size = min(total, float(clusters)) if clusters else total
    k, misses = size * hits / total, size * (total - hits) / total
    low = float(betaincinv(k, misses + 1, _ALPHA / 2)) if k > 0 else 0.0
    high = float(betaincinv(k + 1, misses, 1 - _ALPHA / 2)) if misses > 0 else 1.0
    texts = percents(hits / total, low, high)
    return Share(texts[0], f"{texts[1]} to {texts[2]}", count(round(total)))


def judges_of_gates(records: Sequence[Record], gates: Sequence[Gate]) -> dict[int, str]:
    """Whose verdicts each gate rests on, by its place; a gate of an unknown metric has none."""
    table = Table(records)
    names: dict[str, int] = {}
    spoken = np.array(
        [names.setdefault(r.verdicts[0].judge, len(names)) if r.verdicts else -1 for r in records], dtype=int
    )
    found = {}
    for place, gate in enumerate(gates):
        if gate.metric in METRICS and len(records):
            mask = table.where(gate.where) & (table.strata(METRICS[gate.metric]) >= 0) & (table.state == ANSWERED)
            found[place] = _most(np.bincount(spoken[mask & (spoken >= 0)], minlength=len(names)), names)
    return found


def _most(counts: Iterable[int], names: Iterable[str]) -> str:
    spoken = sorted(((int(n), name) for n, name in zip(counts, names, strict=True) if n), key=lambda pair: -pair[0])
    shown = ", ".join(f"{name} ({n:,})" if len(spoken) > 1 else name for n, name in spoken[:3])
    return shown + (f" and {len(spoken) - 3} more" if len(spoken) > 3 else "")
