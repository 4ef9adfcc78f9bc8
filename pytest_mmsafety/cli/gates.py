"""``mmsafety gate``, ``plan`` and ``baseline``: thresholds and saved runs, without a model."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_mmsafety.errors import SetupError, plural

STOPPED = 2
"""Exit code for a run that did not come to its end, as pytest's."""

if TYPE_CHECKING:
    from pytest_mmsafety.cases import Case
    from pytest_mmsafety.labels import HumanLabels
    from pytest_mmsafety.run import Run


def add_commands(commands: Any) -> None:
    """Add the three to the sub-commands of ``mmsafety``."""
    gate = commands.add_parser("gate", help="evaluate thresholds on a saved run: exit code 1 if a gate blocks")
    gate.add_argument("run_file", type=Path, metavar="RUN", help="JSON file that --save-run wrote")
    gate.add_argument("--thresholds", required=True, metavar="FILE", help="thresholds file, or a shipped policy")
    gate.add_argument("--baseline", default="", metavar="RUN", help="saved run, or the name of a promoted one")
    gate.add_argument(
        "--baseline-allow",
        default="",
        metavar="KIND,...",
        help="allow the comparison although these differ: decoding,judge,cases",
    )
    gate.add_argument("--judge-errors", default="", metavar="FILE,...", help="measured errors of judges")
    gate.add_argument("--labels", type=Path, metavar="GOLD", help="people's labels of this run (mmsafety judge import)")
    gate.add_argument("--require-gates", action="store_true", help="a gate that was not evaluated blocks")
    gate.add_argument("--json", action="store_true", help="print JSON")
    gate.set_defaults(run=_gate)

    plan = commands.add_parser("plan", help="sample size and power of each gate, before a model is asked")
    plan.add_argument("--thresholds", required=True, metavar="FILE", help="thresholds file, or a shipped policy")
    plan.add_argument(
        "--cases",
        nargs="*",
        default=[],
        metavar="SUITE",
        help="suite files or names; default: cases/, else the shipped ones",
    )
    plan.add_argument("--data", action="append", default=[], metavar="NAME=PATH", help="folder of an official data set")
    plan.add_argument(
        "--baseline", default="", metavar="RUN", help="saved run to estimate the intra-cluster correlation (ICC) from"
    )
    plan.add_argument(
        "--target-rate",
        type=float,
        metavar="RATE",
        help="report the sample size needed to distinguish this rate from the bound (80 %% power)",
    )
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.set_defaults(run=_plan)

    baseline = commands.add_parser("baseline", help="promote a saved run to a baseline, or list what was promoted")
    actions = baseline.add_subparsers(required=True, metavar="ACTION")
    promote = actions.add_parser("promote", help="make a saved run the baseline NAME in reports/baselines/")
    promote.add_argument("run_file", type=Path, metavar="RUN")
    promote.add_argument("--name", default="main", help="default: main; --baseline=NAME then finds it")
    promote.add_argument("--why", required=True, help="one sentence for the history")
    promote.add_argument(
        "--anyway", action="store_true", help="promote although the run is not complete, or its gates block"
    )
    promote.set_defaults(run=_promote)
    actions.add_parser("list", help="list who promoted which run, when and why").set_defaults(run=_list)


# --- gate


def _gate(arguments: argparse.Namespace) -> int:
    from pytest_mmsafety.baselines import parse_allowed
    from pytest_mmsafety.evaluation.checks import check_baseline, check_gates, idle_judge_errors
    from pytest_mmsafety.evaluation.evaluate import Evidence, evaluate_run
    from pytest_mmsafety.judge_errors import parse_judge_errors
    from pytest_mmsafety.labels import load_labels
    from pytest_mmsafety.plugin.terminal import gate_lines
    from pytest_mmsafety.policies import policy_named
    from pytest_mmsafety.run import load_run

    if arguments.labels and arguments.judge_errors:
        raise SetupError("--labels: not with --judge-errors, both correct the same numbers; expected one of them")
    run = load_run(arguments.run_file)
    policy = policy_named(arguments.thresholds)
    baseline = _earlier(arguments.baseline)
    judge_errors = parse_judge_errors(arguments.judge_errors, Path.cwd())
    labels = load_labels(arguments.labels, run.records) if arguments.labels else None
    allow = parse_allowed(arguments.baseline_allow)
    check_baseline(run, policy.gates, baseline, allow)
    cases = [(record.suite, record.tags) for record in run.records]
    check_gates(policy.gates, cases, str(policy.path), whole=run.settings.subset == 1)
    if idle := idle_judge_errors(run, judge_errors):
        raise SetupError(idle[0])
    evidence = Evidence(baseline, allow, judge_errors, labels)
    results, notes = evaluate_run(run, policy.gates, evidence, require=arguments.require_gates)
    if arguments.json:
        document = {"target": run.target, "policy": policy.name, "blocks": any(result.blocks for result in results)}
        document |= {"complete": run.complete, "failures": run.failures}
        json.dump({**document, "gates": [asdict(result) for result in results]}, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(f"target: {run.target}, {run.created}\n")
        if labels:
            sys.stdout.write(f"labels: {_extent(labels, run)}\n")
        sys.stdout.writelines(f"note: {note}\n" for note in notes)
        sys.stdout.writelines(f"{line}\n" for line, _ in gate_lines(results))
        sys.stdout.writelines(f"the run failed: {failure}\n" for failure in run.failures)
    blocked = bool(run.failures) or any(result.blocks for result in results)
    return int(blocked) if run.complete else STOPPED


def _extent(labels: HumanLabels, run: Run) -> str:
    """How much of the run people labelled. Of a sample that is done, weights add up to all answers."""
    answers = sum(record.response is not None for record in run.own_records)
    unsure = sum(label.failure is None for label in labels.of.values())
    stand_for = sum(label.stands_for for label in labels.of.values())
    without = f", {unsure} of them without a decision" if unsure else ""
    text = f"{len(labels.of)} of {plural(answers, 'answer')}{without}"
    if abs(stand_for - answers) <= 0.01 * answers:
        return text
    return f"{text}; they stand for {stand_for:.0f}: if a part of the sample is not labelled, a random one is assumed"


# --- plan


class _Asked(NamedTuple):
    """What a plan needs of a case."""

    case: Case
    cluster: str


def _plan(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.evaluation.forecast import gates_likely_unevaluated
    from pytest_mmsafety.evaluation.power import Design, PowerPlan, assumed_from, family_sizes, plan_gate
    from pytest_mmsafety.judge_errors import shipped_errors
    from pytest_mmsafety.judges.panel import Panel
    from pytest_mmsafety.metrics import ATTACK, METRICS
    from pytest_mmsafety.policies import policy_named

    policy = policy_named(arguments.thresholds)
    if arguments.target_rate is not None and not 0 <= arguments.target_rate <= 1:
        raise SetupError(f"--target-rate: {arguments.target_rate:g} is not a rate from 0 to 1")
    modes = {mode for gate in policy.gates if (mode := METRICS[gate.metric].where.get(ATTACK))}
    asked = list(_asked(arguments.cases, arguments.data, modes))
    earlier = _earlier(arguments.baseline)
    sizes = family_sizes(policy.gates)
    plans: list[PowerPlan] = []
    unmatched = []
    for gate in policy.gates:
        clusters = [cluster for case, cluster in asked if gate.applies_to(case.suite, case.tags)]
        if not clusters:
            unmatched.append(gate.name)
            continue
        assumed = assumed_from(gate, earlier.records) if earlier else None
        more = {"assumed": assumed} if assumed else {}
        plans += plan_gate(
            gate, Design.of(clusters), family=sizes[gate.name], target_rate=arguments.target_rate, **more
        )
    if arguments.json:
        json.dump([asdict(plan) for plan in plans], sys.stdout, indent=1, default=str)
        sys.stdout.write("\n")
        return
    _print_plans(plans, unmatched)
    for line in gates_likely_unevaluated(policy.gates, [case for case, _ in asked], Panel(), shipped_errors()):
        sys.stdout.write(f"note: {line}\n")


def _asked(suites: Sequence[str], data: Sequence[str], modes: Iterable[str]) -> Iterator[_Asked]:
    """The cases of the suites, and those that attacks of these *modes* would add."""
    from pytest_mmsafety.arguments import parse_data
    from pytest_mmsafety.attacks.cases import attacked
    from pytest_mmsafety.attacks.settings import MOST_CALLS, parse_attack
    from pytest_mmsafety.cases import cluster_of
    from pytest_mmsafety.files import shipped
    from pytest_mmsafety.images import digest_or_empty
    from pytest_mmsafety.suites import read_suite, suite_file, suite_files

    folders = parse_data(data, Path.cwd())
    own = Path("cases")
    folder = own if own.is_dir() else shipped("cases")
    paths = [suite_file(name) for name in suites] or suite_files(folder)
    settings = [parse_attack(str(MOST_CALLS), {"mode": mode}) for mode in modes]
    for path in paths:
        suite = read_suite(path, folders)
        added = (case for attack in settings if attack for case in attacked(suite, attack).cases[len(suite.cases) :])
        for case in (*suite.cases, *added):
            if not case.skip:
                images = () if case.cluster else case.images
                yield _Asked(case, cluster_of(case, tuple(map(digest_or_empty, images))))


def _earlier(baseline: str) -> Run | None:
    from pytest_mmsafety.baselines import load_baseline

    return load_baseline(baseline, Path.cwd(), Path.cwd()) if baseline else None


def _print_plans(plans: Sequence[Any], unmatched: Sequence[str]) -> None:
    names = Counter(plan.gate.name for plan in plans)
    width = max(map(len, names), default=0)
    for plan in plans:
        sys.stdout.write(f"{plan.gate.name:<{width}}  {plan.sentence}\n")
    for name in unmatched:
        sys.stdout.write(f"{name:<{width}}  no case matches it\n")
    hopeless = [plan.gate.name for plan in plans if plan.obstacle]
    if hopeless:
        sys.stdout.write(f"{len(hopeless)} of {len(plans)} cannot decide with these cases: {', '.join(hopeless)}\n")


# --- baseline


def _promote(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.baselines import promote

    written = promote(arguments.run_file, arguments.name, Path.cwd(), why=arguments.why, anyway=arguments.anyway)
    sys.stdout.write(f"{written}\ncompare with it: pytest --model=... --baseline={arguments.name}\n")


def _list(_: argparse.Namespace) -> None:
    from pytest_mmsafety.baselines import history

    for line in history(Path.cwd()):
        sys.stdout.write(f"{line.when}  {line.name}  {line.target} of {line.created}, by {line.who}: {line.why}\n")
