"""Evaluate saved runs, plan gates, check data, measure judges."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.cli import gates as gate_commands
from pytest_mmsafety.cli import judge as judge_commands
from pytest_mmsafety.cli import promote as promote_command
from pytest_mmsafety.cli import verify as verify_command
from pytest_mmsafety.errors import MmsafetyError
from pytest_mmsafety.suites import suite_file

if TYPE_CHECKING:
    from pytest_mmsafety.cases import Case
    from pytest_mmsafety.run import Run

USAGE_ERROR = 4
"""As pytest's: what was asked for cannot be done."""
INTERRUPTED = 130
"""128 + SIGINT, as shells have it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Exit codes: 0 done, 1 a gate blocks, the doctor found errors or a run is not what it says, 2 no such command or
    option, or a run that was stopped before its end, 4 the input is wrong (one line).
    """
    given = sys.argv[1:] if argv is None else list(argv)
    arguments = _parser().parse_args(given)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        _refuse_empty(given)
        status: int | None = arguments.run(arguments)
        sys.stdout.flush()  # here, where a closed pipe is caught
    except MmsafetyError as error:
        sys.stderr.write(f"mmsafety: {error}\n")
        return USAGE_ERROR
    except KeyboardInterrupt:
        sys.stderr.write("mmsafety: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # `mmsafety cases ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status or 0


def _refuse_empty(given: Sequence[str]) -> None:
    """Raise for an option without a value: in CI, a variable that is not set."""
    for before, arg in zip(("", *given), given, strict=False):
        name = arg[:-1] if re.fullmatch(r"--[a-z-]+=", arg) else before if not arg and before.startswith("--") else ""
        if name:
            raise MmsafetyError(f"{name}: it is empty; expected a value (is a variable not set?)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mmsafety", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    gate_commands.add_commands(commands)
    verify_command.add_command(commands)
    promote_command.add_command(commands)

    cases = commands.add_parser("cases", help="print the cases of a suite as JSON lines")
    cases.add_argument("suite", help="suite file, or the name of a shipped suite (usb, mllmguard, mmsafeaware)")
    cases.add_argument(
        "--data", action="append", default=[], metavar="NAME=PATH", help="folder of an official data set"
    )
    cases.set_defaults(run=_cases)

    install = commands.add_parser("install", help="fetch what --model=embedded needs, or a published data set")
    install.add_argument("what", choices=["embedded", "usb", "mllmguard"])
    install.add_argument("--to", type=Path, metavar="FOLDER", help="of a data set; default: data/NAME")
    install.add_argument("--revision", help="of a data set; default: the one already there, else the newest")
    install.set_defaults(run=_install)

    report = commands.add_parser("report", help="write the HTML report of a saved run")
    report.add_argument("run_file", type=Path, metavar="RUN", help="JSON file that --save-run wrote")
    report.add_argument("--output", "-o", type=Path, help="default: the run's name with .html")
    report.add_argument(
        "--images", type=Path, metavar="FOLDER", help="of the run's images; the shipped suites' are found without"
    )
    report.add_argument(
        "--baseline", default="", metavar="RUN", help="say what changed since: a run, or a promoted one"
    )
    report.add_argument(
        "--leaked", type=Path, metavar="FILE", help="keys of cases in training data (doctor --write-leaked), one a line"
    )
    report.add_argument("--judge-errors", default="", metavar="FILE,...", help="measured errors of judges")
    report.add_argument("--markdown", action="store_true", help="print a short summary as Markdown, for a CI job")
    report.set_defaults(run=_report)

    score = commands.add_parser("score", help="print the published tables of result files and saved runs")
    score.add_argument("files", nargs="+", type=Path, metavar="FILE", help="TASK_MODEL.jsonl, ..., or a saved run")
    score.add_argument(
        "--data", type=Path, metavar="FOLDER", help="published data, for answers and categories that a file leaves out"
    )
    score.add_argument(
        "--hallucination", choices=["released", "binary"], default="released", help="label 1 counts 1/3, or 1"
    )
    score.add_argument("--json", action="store_true", help="print JSON")
    score.set_defaults(run=_score)

    doctor = commands.add_parser("doctor", help="find what is wrong with suites and official data")
    doctor.add_argument(
        "paths", nargs="+", metavar="PATH", help="suite, folder of suites, name of a shipped suite, or official data"
    )
    doctor.add_argument("--loader", default="", metavar="NAME", help="PATH is official data that this loader reads")
    doctor.add_argument("--json", action="store_true", help="print one JSON object")
    doctor.add_argument(
        "--against", type=Path, metavar="MANIFEST", help="training data: .jsonl, .csv, .txt or a folder of images"
    )
    doctor.add_argument(
        "--write-leaked", type=Path, metavar="FILE", help="write the keys of cases found in the manifest, one a line"
    )
    doctor.set_defaults(run=_doctor)

    judge = commands.add_parser("judge", help="judge answers in files, measure judges, have people label")
    judge_commands.add_commands(judge.add_subparsers(dest="judge_command", required=True, metavar="COMMAND"))
    return parser


def _cases(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.arguments import parse_data
    from pytest_mmsafety.suites import read_suite

    data = parse_data(arguments.data, Path.cwd())
    suite = read_suite(suite_file(arguments.suite), data)
    if suite.wants_data:
        raise MmsafetyError(f"{arguments.suite}: official data: give --data {suite.data}=PATH")
    for name in data:
        if name != suite.data:
            raise MmsafetyError(f"--data: {name!r} is not asked for by {arguments.suite}")
    for case in suite.cases:
        sys.stdout.write(json.dumps(_as_json(case), ensure_ascii=False) + "\n")


def _as_json(case: Case) -> dict[str, object]:
    from pytest_mmsafety.cases import cluster_of
    from pytest_mmsafety.images import digest_or_empty

    digests = tuple(map(digest_or_empty, case.images))
    cluster = cluster_of(case, digests if all(digests) else ())
    return {
        "id": case.id,
        "suite": case.suite,
        "tags": dict(case.tags),
        "expected": case.expected,
        "prompt": case.prompt,
        "images": list(case.images),
        "cluster": cluster,
        "judges": list(case.judges),
        "must_pass": case.must_pass,
        "skip": case.skip,
    }


def _install(arguments: argparse.Namespace) -> None:
    if arguments.what == "embedded":
        from pytest_mmsafety.targets.embedded.weights import install

        sys.stdout.write(f"{install()}\n")
        return
    from pytest_mmsafety.benchmarks.download import install_data

    folder = arguments.to or Path("data") / arguments.what
    commit = install_data(arguments.what, folder, arguments.revision)
    sys.stdout.write(f"revision {commit}\n--data {arguments.what}={folder}\n")


def _score(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.benchmarks.result_files import score_files
    from pytest_mmsafety.benchmarks.result_tables import text

    tables = score_files(arguments.files, arguments.data, arguments.hallucination)
    if arguments.json:
        json.dump([table.as_json() for table in tables], sys.stdout, ensure_ascii=False, indent=1)
        sys.stdout.write("\n")
    else:
        sys.stdout.write(text(tables))


def _doctor(arguments: argparse.Namespace) -> int:
    from pytest_mmsafety.doctor import as_json, examine
    from pytest_mmsafety.doctor.text import render

    if arguments.write_leaked and not arguments.against:
        raise MmsafetyError("--write-leaked: nothing to compare with; give --against MANIFEST")
    examination = examine(arguments.paths, arguments.loader, arguments.against)
    if arguments.write_leaked:
        try:
            arguments.write_leaked.write_text("".join(f"{key}\n" for key in examination.leaked), encoding="utf-8")
        except OSError as error:
            raise MmsafetyError(f"--write-leaked: {arguments.write_leaked}: {error.strerror or error}") from None
    if arguments.json:
        sys.stdout.write(json.dumps(as_json(examination), ensure_ascii=False, indent=1) + "\n")
    else:
        sys.stdout.write(render(examination))
    return 1 if examination.failed else 0


def _report(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.baselines import load_baseline
    from pytest_mmsafety.judge_errors import parse_judge_errors
    from pytest_mmsafety.report import write_report
    from pytest_mmsafety.report.image_files import find_images
    from pytest_mmsafety.run import load_run

    run = load_run(arguments.run_file)
    output = arguments.output or arguments.run_file.with_suffix(".html")
    if output.exists() and output.samefile(arguments.run_file):
        raise MmsafetyError(f"--output: {output} is the run itself; expected another file")
    baseline = load_baseline(arguments.baseline, Path.cwd(), Path.cwd()) if arguments.baseline else None
    if arguments.markdown:
        _report_markdown(arguments, run, baseline)
        return
    records = [*run.own_records, *(baseline.own_records if baseline else ())]
    found = find_images((image for record in records for image in record.images), arguments.images)
    leaked = _leaked_keys(arguments.leaked) if arguments.leaked else None
    judge_errors = parse_judge_errors(arguments.judge_errors, Path.cwd())
    try:
        write_report(run, output, image_paths=found.paths, baseline=baseline, leaked=leaked, judge_errors=judge_errors)
    except OSError as error:
        raise MmsafetyError(f"--output: {output} cannot be written: {error.strerror or error}") from None
    if found.trouble:
        sys.stderr.write(f"mmsafety: {found.trouble}\n")
    sys.stdout.write(f"{output}\n")


def _report_markdown(arguments: argparse.Namespace, run: Run, baseline: Run | None) -> None:
    from pytest_mmsafety.files import write_atomically
    from pytest_mmsafety.report.markdown import markdown_summary

    for option in ("leaked", "judge_errors", "images"):
        if getattr(arguments, option):
            raise MmsafetyError(f"--{option.replace('_', '-')}: only the HTML report shows that; leave out --markdown")
    summary = markdown_summary(run, baseline)
    if arguments.output is None:
        sys.stdout.write(summary)
        return
    try:
        write_atomically(arguments.output, [summary])
    except OSError as error:
        raise MmsafetyError(f"--output: {arguments.output} cannot be written: {error.strerror or error}") from None


def _leaked_keys(path: Path) -> frozenset[str]:
    """Of a file that ``doctor --write-leaked`` wrote. Raises :class:`MmsafetyError`."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise MmsafetyError(f"--leaked: {path}: {getattr(error, 'strerror', None) or error}") from None
    keys = [line.strip() for line in lines]
    for number, key in enumerate(keys, 1):
        if key and "/" not in key:
            raise MmsafetyError(f"--leaked: {path}:{number}: {key!r:.60} is no key of a case; expected suite/id")
    return frozenset(filter(None, keys))


if __name__ == "__main__":
    sys.exit(main())
