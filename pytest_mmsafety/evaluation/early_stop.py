"""Early stop: which cases are asked next, and which gates are certain and need no more of them.

The order is fixed before anything is asked, and gates are looked at after whole stretches of it. So what is asked
depends on the answers alone, not on which came first: a run that was killed goes on where it was, and a run whose
answers are stored asks nothing. The statistics are those of :mod:`pytest_mmsafety.statistics.sequential`.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from pytest_mmsafety.cases import Case, cluster_of
from pytest_mmsafety.errors import plural
from pytest_mmsafety.gates import Gate, matches
from pytest_mmsafety.images import digest_or_empty
from pytest_mmsafety.metrics import METRICS, Metric
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.statistics.decisions import UNDECIDED, State, Stopped
from pytest_mmsafety.statistics.sequential import (
    EARLY_SHARE,
    RARE,
    SequentialTest,
    confidence_sequence,
    decide,
    plan_rounds,
    serving_order,
)
from pytest_mmsafety.verdicts import score_by

SEED = 0
LOOKS = 50
"""How often gates are looked at in a run, at most: stretches must not be so short that batches are not full."""

GatesByCase = Mapping[str, frozenset[str]]
"""Key of a case -> names of the gates that it counts for."""


class EarlyStop:
    """Serves cases, takes their outcomes, and knows which gates are decided.

    *selected* are the cases that this run may ask, *collected* those that there are: a gate of which a part is not
    selected cannot be decided. No stretch but the last is shorter than *batch_size*.
    """

    def __init__(
        self, gates: Sequence[Gate], selected: Sequence[Case], collected: Iterable[Case], batch_size: int
    ) -> None:
        asked = list({case.key: case for case in selected if not case.skip}.values())
        self._step = max(batch_size, -(-len(asked) // LOOKS))
        self._cases = len(asked)
        self._gates = {gate.name: gate for gate in gates}
        self._gates_by_case: GatesByCase = {
            case.key: frozenset(gate.name for gate in gates if gate.applies_to(case.suite, case.tags))
            for case in collected
            if not case.skip
        }
        self._applicable = frozenset[str]().union(*self._gates_by_case.values())
        """The gates that have a case."""
        testable = self._testable(asked)
        order = _order(asked, self._gates_by_case, testable)
        self._waiting = deque(order.clusters.values())
        self._tests = {name: _Test.of(self._gates[name], self._gates_by_case, order) for name in testable}
        self.not_asked: list[str] = []
        """Keys of the cases that were passed over."""

    def _testable(self, asked: Sequence[Case]) -> list[str]:
        """Names of the gates that may be decided early."""
        own: dict[str, list[Case]] = {name: [] for name in self._gates}
        for case in asked:
            for name in self._gates_by_case[case.key]:
                own[name].append(case)
        collected = Counter(name for names in self._gates_by_case.values() for name in names)
        whole = [name for name in own if len(own[name]) == collected[name]]
        return [name for name in whole if _can_stop(self._gates[name], own[name])]

    @property
    def gates(self) -> list[Gate]:
        """With the part of alpha that was spent on those that are decided, and is left for the others."""
        families = {_family(test.gate) for test in self._tests.values()}
        shares = {
            name: EARLY_SHARE if name in self.stopped else 1 - EARLY_SHARE if _family(gate) in families else 1
            for name, gate in self._gates.items()
        }
        return [replace(gate, alpha=gate.alpha * shares[name]) for name, gate in self._gates.items()]

    @property
    def stopped(self) -> dict[str, Stopped]:
        """The gates that are decided, by name."""
        return {name: test.stopped for name, test in self._tests.items() if test.stopped}

    @property
    def note(self) -> str:
        """One line on what was saved."""
        return f"early stop: {len(self.not_asked)} of {plural(self._cases, 'case')} not asked"

    def next_cases(self) -> list[Case]:
        """The next stretch: the cases still needed of the next clusters; empty: that was all."""
        chosen: list[Case] = []
        undecided = self._applicable - {name for name, test in self._tests.items() if test.stopped or test.is_lost}
        while self._waiting and len(chosen) < self._step:
            for case in self._waiting.popleft():
                if self._is_needed(case, undecided):
                    chosen.append(case)
                else:
                    self.not_asked.append(case.key)
        return chosen

    def _is_needed(self, case: Case, undecided: Collection[str]) -> bool:
        """By a gate that is open, or whatever the rates are; a case of no gate until all are decided."""
        names = self._gates_by_case[case.key]
        if case.must_pass or not names.isdisjoint(undecided):
            return True
        filters = [accepted for name in names for accepted in self._gates[name].zero_tolerance]
        return any(matches(accepted, case.suite, case.tags) for accepted in filters) if names else bool(undecided)

    def take(self, outcomes: Iterable[Outcome]) -> None:
        """All outcomes of one stretch, in any order; stretches in the order in which they were served."""
        found = {outcome.case: outcome for outcome in outcomes}
        for test in self._tests.values():
            if not test.stopped:
                test.take(found)
        for family in {_family(test.gate) for test in self._tests.values()}:
            _decide([test for test in self._tests.values() if _family(test.gate) == family])


def _decide(family: Sequence[_Test]) -> None:
    """Gates that were decided stay in the family, with the p-values that they had."""
    tests, at_least = [test.test for test in family], [test.gate.min is not None for test in family]
    for alpha in {test.gate.alpha for test in family}:
        for test, state in zip(family, decide(tests, alpha * EARLY_SHARE, at_least), strict=True):
            if test.gate.alpha == alpha and state != UNDECIDED and not test.stopped and test.would_be_evaluated():
                test.stop(state)


def _family(gate: Gate) -> tuple[str, ...]:
    """Gates with the same one are judged together."""
    return (gate.rule, gate.family, gate.name) if gate.family == "none" else (gate.rule, gate.family)


# --- a gate


def _can_stop(gate: Gate, own: Sequence[Case]) -> bool:
    """Whether its verdict is one on a rate alone, of which the cases *own* are a sample."""
    metric = METRICS[gate.metric]
    alone = gate.bound is not None and gate.max_regression is None and not metric.given
    return alone and bool(own) and set(metric.weights) <= {metric.stratum(case.tags) for case in own}


@dataclass(slots=True)
class _Test:
    """A gate on its way to a verdict."""

    gate: Gate
    clusters: Sequence[Sequence[Case]]
    """Its own cases, in the order of serving."""
    weights: Mapping[str, float]
    """Of a case, by its stratum in the metric."""
    test: SequentialTest
    totals: list[float] = field(default_factory=list)
    sizes: list[float] = field(default_factory=list)
    """Of the clusters so far: the sum of their values, and of their weights."""
    asked: int = 0
    scored: int = 0
    counted: int = 0
    """Cases so far that have a value."""
    errors: int = 0
    stopped: Stopped | None = None

    @classmethod
    def of(cls, gate: Gate, by_case: GatesByCase, order: _Order) -> _Test:
        assert gate.bound is not None
        own = {
            name: [case for case in cases if gate.name in by_case[case.key]] for name, cases in order.clusters.items()
        }
        own = {name: cases for name, cases in own.items() if cases}
        metric = METRICS[gate.metric]
        count = Counter(_stratum(metric, case) for cases in own.values() for case in cases)
        weights = {name: metric.weights.get(name, count[name]) / count[name] for name in count}
        sizes = [sum(weights[_stratum(metric, case)] for case in cases) for cases in own.values()]
        strata = [order.strata[name] for name in own]
        rounds = plan_rounds(sizes, strata if len(set(strata)) > 1 else None)
        return cls(gate, list(own.values()), weights, SequentialTest(gate.bound, rounds))

    def take(self, found: Mapping[str, Outcome]) -> None:
        """Take in the outcomes of the next clusters: those whose cases are in *found*."""
        start = len(self.totals)
        for cluster in self.clusters[start:]:
            if cluster[0].key not in found:
                break
            self._add([(case, found[case.key]) for case in cluster])
        self.test.update(self.totals[start:], self.sizes[start:])

    def _add(self, cluster: Sequence[tuple[Case, Outcome]]) -> None:
        metric, total, size = METRICS[self.gate.metric], 0.0, 0.0
        for case, outcome in cluster:
            score = score_by(outcome.verdicts, self.gate.judged_by)
            value = None if outcome.response is None else metric.value(score)
            self.asked += 1
            self.errors += outcome.response is None
            self.scored += score is not None
            if value is not None:
                self.counted += 1
                weight = self.weights[_stratum(metric, case)]
                total, size = total + weight * value, size + weight
        self.totals.append(total)
        self.sizes.append(size)

    def would_be_evaluated(self) -> bool:
        """Whether the gate of a full run would be evaluated on cases such as these."""
        gate, metric = self.gate, METRICS[self.gate.metric]
        clusters = sum(size > 0 for size in self.sizes)
        if self.errors or self.counted < max(gate.min_cases, 1) or clusters < gate.min_clusters:
            return False
        # Weights are those of the whole suite: where answers are unscored, some strata would count for less.
        allowed = 0 if metric.weights else gate.max_unscored * self.asked
        return metric.counts_unscored or self.asked - self.scored <= allowed

    @property
    def is_lost(self) -> bool:
        """Whether so many answers are unscored that no further one can have the gate evaluated."""
        unscored = self.asked - self.errors - self.scored
        allowed = self.gate.max_unscored * sum(map(len, self.clusters))
        return unscored > allowed and not METRICS[self.gate.metric].counts_unscored

    def stop(self, state: State) -> None:
        alpha = self.gate.alpha * EARLY_SHARE
        estimate = confidence_sequence(self.test, self.totals, self.sizes, alpha, self.counted)
        estimate = replace(estimate, clusters=sum(size > 0 for size in self.sizes))
        self.stopped = Stopped(state, estimate, self.asked, sum(map(len, self.clusters)))


def _stratum(metric: Metric, case: Case) -> str:
    """Of a case that counts for the metric."""
    stratum = metric.stratum(case.tags)
    assert stratum is not None
    return stratum


# --- the order


@dataclass(frozen=True, slots=True)
class _Order:
    """What is asked in which order."""

    clusters: Mapping[str, Sequence[Case]]
    """In the order of serving."""
    strata: Mapping[str, frozenset[str]]
    """Of each cluster: between these the order is fixed, inside of one it is random."""


def _order(cases: Sequence[Case], by_case: GatesByCase, gates: Sequence[str]) -> _Order:
    """Whole clusters, random inside of a stratum; strata are the sets of *gates* that a cluster counts for."""
    digests = {path: digest_or_empty(path) for path in {path for case in cases for path in case.images}}
    clusters = [cluster_of(case, tuple(digests[path] for path in case.images)) for case in cases]
    gates_of: dict[str, set[str]] = {}
    for case, cluster in zip(cases, clusters, strict=True):
        gates_of.setdefault(cluster, set()).update(by_case[case.key].intersection(gates))
    strata = _merged({cluster: frozenset(names) for cluster, names in gates_of.items()}, gates)
    labels = ["\0".join(sorted(strata[cluster])) for cluster in clusters]
    served: dict[str, list[Case]] = {}
    for i in serving_order([case.key for case in cases], clusters, labels, SEED, rare=1):
        served.setdefault(clusters[i], []).append(cases[i])
    return _Order(served, strata)


def _merged(gates_of: Mapping[str, frozenset[str]], gates: Sequence[str]) -> dict[str, frozenset[str]]:
    """Cluster -> stratum. A round of a gate needs a cluster of each of its strata, so it must have many of each.

    Strata in which a gate has few clusters are merged with the next larger one that it has clusters in.
    """
    count = Counter(gates_of.values())
    label = {names: names for names in count}
    for gate in [*gates] * 2:  # what a later gate merged can leave an earlier one with few
        while True:
            own = Counter[frozenset[str]]()
            for names, clusters in count.items():
                if gate in names:
                    own[label[names]] += clusters
            smallest = sorted(own, key=lambda names: (own[names], sorted(names)))[:2]
            if len(smallest) < 2 or own[smallest[0]] >= RARE:
                break
            both = smallest[0] | smallest[1]
            label = {names: both if at in smallest else at for names, at in label.items()}
    return {cluster: label[names] for cluster, names in gates_of.items()}
