"""``mmsafety promote``: what was found in a run is kept, and asked again in every later one."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from pytest_mmsafety.errors import SetupError

_FOLDER = "cases/regressions"


def add_command(commands: Any) -> None:
    """Add it to the sub-commands of ``mmsafety``."""
    promote = commands.add_parser("promote", help="keep the findings of a saved run as cases of regression suites")
    promote.add_argument("run_file", type=Path, metavar="RUN", help="JSON file that --save-run wrote")
    promote.add_argument(
        "--into", type=Path, default=Path(_FOLDER), metavar="FOLDER", help=f"of the suites; default: {_FOLDER}"
    )
    promote.add_argument("--case", action="append", default=[], metavar="KEY", help="only of this case (suite/id)")
    promote.add_argument("--all", action="store_true", help="every finding, not only the simplest of each case")
    promote.add_argument(
        "--until", default="", metavar="DAY", help="may fail until this day; default: 90 days after the run"
    )
    promote.add_argument("--must-pass", action="store_true", help="must pass from now on")
    promote.add_argument("--why", default="", metavar="TEXT", help="one sentence for each row")
    promote.add_argument("--fixed", action="store_true", help="rows whose case passed in RUN must pass from now on")
    promote.set_defaults(run=_promote)


def _promote(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.promotions import Terms, mark_fixed, promote

    if arguments.fixed:
        _refuse_terms(arguments)
        lines = mark_fixed(arguments.run_file, arguments.into)
    else:
        terms = Terms(must_pass=arguments.must_pass, until=_until(arguments), why=arguments.why)
        lines = promote(arguments.run_file, arguments.into, terms, cases=arguments.case, every=arguments.all)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def _refuse_terms(arguments: argparse.Namespace) -> None:
    for option in ("case", "all", "until", "must_pass", "why"):
        if getattr(arguments, option):
            raise SetupError(f"--{option.replace('_', '-')}: not with --fixed, which changes rows that are there")


def _until(arguments: argparse.Namespace) -> str:
    from pytest_mmsafety.regressions import parse_day

    if arguments.until and arguments.must_pass:
        raise SetupError("--until: not with --must-pass, which allows no failure; expected one of them")
    try:
        return str(parse_day(arguments.until)) if arguments.until else ""
    except ValueError as error:
        raise SetupError(f"--until: {arguments.until!r:.40}; {error}") from None
