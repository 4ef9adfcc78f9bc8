"""``mmsafety verify``: whether a saved run is what it says."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any


def add_command(commands: Any) -> None:
    """Add it to the sub-commands of ``mmsafety``."""
    verify = commands.add_parser(
        "verify", help="compute a saved run's gates again, compare it with its files: exit code 1 if anything differs"
    )
    verify.add_argument("run_file", type=Path, metavar="RUN", help="JSON file that --save-run wrote")
    verify.add_argument(
        "--cases",
        nargs="+",
        default=[],
        metavar="SUITE",
        help="suite files, folders or names; after them cases/ and the shipped ones are looked through",
    )
    verify.add_argument(
        "--thresholds", default="", metavar="FILE", help="thresholds file, or a shipped policy, that gated the run"
    )
    verify.add_argument("--baseline", default="", metavar="RUN", help="saved run, or the name of a promoted one")
    verify.set_defaults(run=_verify)


def _verify(arguments: argparse.Namespace) -> int:
    from pytest_mmsafety.baselines import load_baseline
    from pytest_mmsafety.evaluation.verify import find_suites, summary, verify_run
    from pytest_mmsafety.policies import policy_named
    from pytest_mmsafety.run import read_run_file

    file = read_run_file(arguments.run_file)
    policy = policy_named(arguments.thresholds) if arguments.thresholds else None
    baseline = load_baseline(arguments.baseline, Path.cwd(), Path.cwd()) if arguments.baseline else None
    findings = verify_run(file, find_suites(arguments.cases), policy, baseline)
    for finding in sorted(findings, key=lambda finding: finding.differs):
        mark = "differs" if finding.differs else "not checked"
        sys.stdout.write(f"{mark:<11}  {finding.where}: {finding.problem}\n")
    sys.stdout.write(f"{arguments.run_file}: {summary(findings)}\n")
    return int(any(finding.differs for finding in findings))
