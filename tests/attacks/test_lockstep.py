"""Many searches on a real engine: full batches, the same findings whatever shares a batch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_mmsafety.attacks.attack import Attack, EngineOracle
from pytest_mmsafety.attacks.cases import attacked
from pytest_mmsafety.attacks.memory import Memory
from pytest_mmsafety.attacks.settings import AttackSettings, parse_attack
from pytest_mmsafety.cases import Case
from pytest_mmsafety.engine.engine import Engine
from pytest_mmsafety.judges.panel import Panel
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.store import Store
from pytest_mmsafety.suites import Suite, read_suite
from pytest_mmsafety.targets import Request
from pytest_mmsafety.testing import ScriptedTarget

SHIPPED = Path(__file__).parents[2] / "cases" / "mmsafeaware.yaml"


def answers(requests: Sequence[Request]) -> list[str]:
    """No, but yes where a teacher asks or the picture is turned upside down."""
    return ["yes" if "teacher" in request.prompt else "no" for request in requests]


def expecting_no(count: int) -> list[Case]:
    return [case for case in read_suite(SHIPPED).cases if case.expected == "no"][:count]


def searched(cases: Sequence[Case], batch_size: int, settings: AttackSettings) -> tuple[Attack, ScriptedTarget]:
    target = ScriptedTarget(answers)
    engine = Engine(lambda: target, Panel(), Store(None), batch_size)
    suite = Suite("demo", Path("demo.yaml"), "demo", "", tuple(cases), {"all": tuple(cases)}, "", Path())
    groups = attacked(suite, settings).groups
    attack = Attack([groups["all@search"]], settings, Memory(None))
    attack.run(EngineOracle(engine, lambda: None))
    engine.close()
    return attack, target


def settings(calls: int, **told: str) -> AttackSettings:
    found = parse_attack(str(calls), told)
    assert found
    return found


def outcomes(attack: Attack) -> list[tuple[str, str]]:
    return [(outcome.case, outcome.verdicts[0].reason) for outcome in attack.outcomes()]


def test_batches_are_at_most_a_tenth_of_the_evaluations() -> None:
    cases = expecting_no(64)
    attack, target = searched(cases, 64, settings(64 * 40))
    assert attack.calls >= 64 * 10
    assert len(target.sizes) * 10 <= attack.calls


def test_what_is_found_depends_on_no_batch_and_on_no_other_case() -> None:
    cases = expecting_no(12)
    together = outcomes(searched(cases, 64, settings(12 * 30))[0])
    for batch_size in (1, 7):
        assert outcomes(searched(cases, batch_size, settings(12 * 30))[0]) == together
    alone = [outcomes(searched([case], 8, settings(30))[0])[0] for case in cases]
    assert alone == together


def test_every_outcome_is_of_builtins() -> None:
    attack, _ = searched(expecting_no(2), 8, settings(40))
    for outcome in attack.outcomes():
        assert Outcome.from_dict(outcome.to_dict()) == outcome
