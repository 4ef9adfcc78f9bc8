"""Plans: against the gate's own verdicts on simulated runs, and against tables by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from pytest_mmsafety.evaluation.power import (
    WANTED,
    Assumptions,
    Design,
    PowerPlan,
    assumed_from,
    family_sizes,
    plan_gate,
)
from pytest_mmsafety.gates import ASSURANCE, EVIDENCE, Gate
from pytest_mmsafety.statistics.estimates import clustered_difference, clustered_share, intra_cluster_correlation
from pytest_mmsafety.testing import make_gate, make_record


def gate(**changes: Any) -> Gate:
    return make_gate(**{"max": None if "min" in changes else 0.05, **changes})


def plan(one: Gate, design: Design, **keys: Any) -> PowerPlan:
    (only,) = plan_gate(one, design, **keys)
    return only


INDEPENDENT = Design(((1, 100),))
CLUSTERED = Design(((1, 20), (3, 40), (10, 6)))


def test_a_design_counts_cases_and_clusters() -> None:
    design = Design.of(["a", "b", "a", "c", "a", "b"])
    assert design.sizes == ((1, 1), (2, 1), (3, 1))
    assert (design.n, design.clusters) == (6, 3)
    assert CLUSTERED.scaled(400).sizes == ((1, 40), (3, 80), (10, 12))


@pytest.mark.parametrize(("rule", "obstacle"), [(ASSURANCE, "cannot pass"), (EVIDENCE, "")])
def test_twenty_cases_never_prove_five_percent(rule: str, obstacle: str) -> None:
    """Without any failure in 20 cases the upper end of a 95 % interval is 16.8 %."""
    found = plan(gate(rule=rule), Design(((1, 20),)))
    assert found.obstacle == obstacle
    assert (
        "cannot pass: n=20 (20 clusters) is too small; even 0 failures would not prove that the failure rate is at most 5.0%"
        in found.sentence
    ) == bool(obstacle)


def test_three_cases_never_break_one_half() -> None:
    """Three failures of three: the lower end is 29 %."""
    found = plan(gate(max=0.5), Design(((1, 3),)))
    assert (found.obstacle, found.detectable) == ("cannot fail", None)
    assert plan(gate(max=0.2), Design(((1, 3),))).obstacle == ""


def test_an_obstacle_is_one_for_the_gate() -> None:
    """What cannot pass or fail by plan does not by the intervals that gates use, and the next larger one does."""
    for n in range(2, 120):
        high = clustered_share([0.0] * n, range(n), 0.05).high
        assert (plan(gate(rule=ASSURANCE), Design(((1, n),))).obstacle == "cannot pass") == (high > 0.05)


def test_detectable_of_independent_cases_is_exact() -> None:
    found = plan(gate(), INDEPENDENT)
    fails = next(k for k in range(101) if clustered_share([1.0] * k + [0.0] * (100 - k), range(100), 0.05).low > 0.05)
    assert found.detectable is not None
    assert float(binom.sf(fails - 1, 100, found.detectable)) == pytest.approx(found.power)
    assert WANTED <= found.power < WANTED + 0.01
    assert (
        f"minimum detectable failure rate of {found.detectable:.1%} at 80% power; bound at most 5.0%" in found.sentence
    )


@pytest.mark.parametrize("rule", [EVIDENCE, ASSURANCE])
@pytest.mark.parametrize("bound", [0.1, 0.4])
def test_clustered_power_is_that_of_simulated_gates(rule: str, bound: float) -> None:
    found = plan(gate(rule=rule, max=bound), CLUSTERED, assumed=Assumptions(icc=0.3))
    assert found.detectable is not None
    random = np.random.default_rng(1)
    labels = np.repeat(np.arange(CLUSTERED.clusters), [size for size, count in CLUSTERED.sizes for _ in range(count)])
    weight, draws, spoke = 0.7 / 0.3, 1500, 0
    for _ in range(draws):
        rates = random.beta(found.detectable * weight, (1 - found.detectable) * weight, CLUSTERED.clusters)
        estimate = clustered_share((random.random(CLUSTERED.n) < rates[labels]).astype(float), labels, 0.05)
        spoke += estimate.low > bound if rule == EVIDENCE else estimate.high <= bound
    assert spoke / draws == pytest.approx(found.power, abs=0.03)


def test_power_to_see_a_worsening_is_that_of_simulated_gates() -> None:
    one = gate(max=None, max_regression=0.02)
    design = Design(((2, 150),))
    found = plan(one, design, assumed=Assumptions(icc=0.0, churn=0.1))
    assert found.detectable is not None
    random = np.random.default_rng(2)
    draws, failed = 1500, 0
    for _ in range(draws):
        draw = random.random(300)
        changes = np.where(draw < 0.05 + found.detectable, 1.0, np.where(draw > 0.95, -1.0, 0.0))
        failed += clustered_difference(changes, np.arange(300) // 2, 0.05).low > 0.02
    assert failed / draws == pytest.approx(found.power, abs=0.03)


def test_a_worsening_that_few_pairs_cannot_exclude() -> None:
    """Nothing changed in 100 pairs: up to 3.6 points of worsening are possible, so it has to have got better."""
    strict = gate(max=None, max_regression=0.02, rule=ASSURANCE)
    few, many = (plan(strict, Design(((1, n),)), assumed=Assumptions(churn=0.0)) for n in (100, 400))
    assert few.detectable is not None
    assert many.detectable is not None
    assert few.detectable < 0 < many.detectable
    assert "passes with 80% power at a true gain of" in few.sentence
    assert "passes with 80% power at a true worsening of" in many.sentence
    assert plan(strict, Design(((1, 2),))).obstacle == "cannot pass"


def test_a_gate_may_pass_with_some_failures_and_not_without() -> None:
    """Failures that stand alone show that clusters are not alike; without any, it is not known."""
    design = Design(((12, 100),))
    assert clustered_share([0.0] * 1200, (np.arange(1200) // 12).tolist(), 0.05).high > 0.03
    found = plan(gate(max=0.03, rule=ASSURANCE), design, assumed=Assumptions(icc=0.0))
    assert found.obstacle == ""


def test_a_minimum_is_a_maximum_seen_from_the_other_side() -> None:
    low = plan(gate(max=0.2), INDEPENDENT, target_rate=0.4)
    high = plan(gate(metric="accuracy", max=None, min=0.8), INDEPENDENT, target_rate=0.6)
    assert low.detectable is not None
    assert high.detectable == pytest.approx(1 - low.detectable, abs=1e-3)
    assert high.needed == low.needed


def test_the_cases_for_a_target_rate_are_enough_and_not_too_many() -> None:
    found = plan(gate(), INDEPENDENT, target_rate=0.1)
    assert found.needed is not None
    assert 100 < found.needed < 400
    detectable = plan(gate(), Design(((1, found.needed),))).detectable
    assert detectable is not None
    assert detectable == pytest.approx(0.1, abs=0.003)
    assert f"needs about {found.needed:,} cases" in found.sentence


def test_a_target_rate_on_the_wrong_side_of_the_bound_has_no_number() -> None:
    assert plan(gate(), INDEPENDENT, target_rate=0.01).needed is None
    assert plan(gate(), INDEPENDENT, target_rate=0.05).needed is None


def test_more_gates_see_less_unless_all_have_to_pass() -> None:
    alone, family = (plan(gate(), INDEPENDENT, family=size) for size in (1, 20))
    assert alone.detectable is not None
    assert family.detectable is not None
    assert family.detectable > alone.detectable
    assert family.alpha == pytest.approx(0.05 / 20)
    assert plan(gate(family="none"), INDEPENDENT, family=20).detectable == alone.detectable
    assert plan(gate(rule=ASSURANCE), INDEPENDENT, family=20).alpha == 0.05


def test_alike_cases_see_less() -> None:
    found = [plan(gate(), Design(((5, 60),)), assumed=Assumptions(icc=icc)).detectable for icc in (0.0, 0.3, 1.0)]
    assert all(value is not None for value in found)
    assert found == sorted(found)


def test_a_gate_that_only_reports_has_no_plan() -> None:
    assert plan_gate(gate(max=1.0), INDEPENDENT) == []
    assert len(plan_gate(gate(max_regression=0.1), INDEPENDENT)) == 2


def test_families_count_tests_of_bounds() -> None:
    gates = [
        gate(name="a"),
        gate(name="both", max_regression=0.1),
        gate(name="report", max=1.0),
        gate(name="proof", rule=ASSURANCE),
        gate(name="table", family="fdr"),
    ]
    assert family_sizes(gates) == {"a": 3, "both": 3, "report": 3, "proof": 1, "table": 1}


def test_assumptions_come_from_an_earlier_run() -> None:
    rows = [make_record(i, float(i // 4 % 2), tags={"language": "en"}, cluster=f"c{i // 4}") for i in range(80)]
    assert assumed_from(gate(), rows) == Assumptions(icc=1.0)
    assert assumed_from(gate(where={"language": ("zh",)}), rows) is None


def test_correlation_is_seen() -> None:
    random = np.random.default_rng(3)
    labels = np.repeat(np.arange(400), 5)
    for icc in (0.0, 0.3, 1.0):
        alike = random.random((400, 1)) < icc
        values = np.where(alike, random.random((400, 1)) < 0.3, random.random((400, 5)) < 0.3).ravel()
        assert intra_cluster_correlation(values.astype(float), labels.tolist()) == pytest.approx(icc, abs=0.06)
    assert intra_cluster_correlation([0.0, 1.0], ["a", "b"]) == 0
    assert intra_cluster_correlation([1.0, 1.0, 1.0], ["a", "a", "b"]) == 0
    assert intra_cluster_correlation([1.0, 0.0], ["a", "a"]) == 0


@pytest.mark.parametrize(
    ("keys", "rate", "expected"),
    [
        ({"max": 0.05}, 0.01, "no number of cases makes it fail at a true failure rate of 1.0%"),
        ({"max": 0.05, "rule": ASSURANCE}, 0.2, "no number of cases makes it pass at a true failure rate of 20.0%"),
    ],
)
def test_a_target_rate_on_the_wrong_side_of_the_bound_is_said_to_be_one(
    keys: dict[str, Any], rate: float, expected: str
) -> None:
    (found,) = plan_gate(make_gate(**keys), Design(((1, 100),)), target_rate=rate)
    assert found.needed is None
    assert found.sentence.endswith(expected)
