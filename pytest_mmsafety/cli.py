"""``mmsafety``: what is not a test run."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_mmsafety.errors import ImageError, MmsafetyError, nearest

if TYPE_CHECKING:
    from pytest_mmsafety.cases import Case

USAGE_ERROR = 4
"""As pytest's: what was asked for cannot be done."""


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 2 no such command or option, 4 the input is wrong (one line says what)."""
    arguments = _parser().parse_args(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        arguments.run(arguments)
        sys.stdout.flush()  # here, where a closed pipe is caught
    except MmsafetyError as error:
        sys.stderr.write(f"mmsafety: {error}\n")
        return USAGE_ERROR
    except BrokenPipeError:  # `mmsafety cases ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mmsafety", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    cases = commands.add_parser("cases", help="print the cases of a suite as JSON lines")
    cases.add_argument("suite", help="suite file, or the name of a shipped suite (usb, mllmguard, mmsafeaware)")
    cases.add_argument(
        "--data", action="append", default=[], metavar="NAME=PATH", help="folder of an official data set"
    )
    cases.set_defaults(run=_cases)

    install = commands.add_parser("install", help="fetch what --model=embedded needs, pinned by hash")
    install.add_argument("what", choices=["embedded"])
    install.set_defaults(run=_install)

    report = commands.add_parser("report", help="write the HTML report of a saved run")
    report.add_argument("run_file", type=Path, metavar="RUN", help="JSON file that --save-run wrote")
    report.add_argument("--output", "-o", type=Path, help="default: the run's name with .html")
    report.add_argument(
        "--images", type=Path, metavar="FOLDER", help="folder that the run's images are named relative to"
    )
    report.set_defaults(run=_report)
    return parser


def _cases(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.settings import parse_data
    from pytest_mmsafety.suites import read_suite

    data = parse_data(arguments.data, Path.cwd())
    suite = read_suite(_suite_file(arguments.suite), data)
    if suite.wants_data:
        raise MmsafetyError(f"{arguments.suite}: official data: give --data {suite.data}=PATH")
    for name in data:
        if name != suite.data:
            raise MmsafetyError(f"--data: {name!r} is not asked for by {arguments.suite}")
    for case in suite.cases:
        sys.stdout.write(json.dumps(_as_json(case), ensure_ascii=False) + "\n")


def _suite_file(name: str) -> Path:
    from pytest_mmsafety.settings import shipped

    path = Path(name)
    if path.exists() or path.suffix:
        return path
    names = [file.stem for file in shipped("cases").glob("*.yaml")]
    if name not in names:
        raise MmsafetyError(f"{name!r} is neither a file nor one of {', '.join(sorted(names))}{nearest(name, names)}")
    return shipped("cases") / f"{name}.yaml"


def _as_json(case: Case) -> dict[str, object]:
    from pytest_mmsafety.cases import cluster_of
    from pytest_mmsafety.images import digest, read_image

    try:
        cluster = cluster_of(case, tuple(digest(read_image(path)) for path in case.images))
    except ImageError:
        cluster = case.key
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


def _install(_: argparse.Namespace) -> None:
    from pytest_mmsafety.targets.embedded_weights import install

    sys.stdout.write(f"{install()}\n")


def _report(arguments: argparse.Namespace) -> None:
    from pytest_mmsafety.report import write_report
    from pytest_mmsafety.run import load_run

    run = load_run(arguments.run_file)
    folder = arguments.images or Path.cwd()
    images = {
        image.sha256: str(folder / image.name) for record in run.records for image in record.images if image.sha256
    }
    output = arguments.output or arguments.run_file.with_suffix(".html")
    try:
        write_report(run, output, image_paths=images)
    except OSError as error:
        raise MmsafetyError(f"--output: {output} cannot be written: {error.strerror or error}") from None
    sys.stdout.write(f"{output}\n")
