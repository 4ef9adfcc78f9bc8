"""Promotions: findings of a saved run become rows of regression suites, and rows that pass now must pass.

The life of a finding is described in ``docs/regressions.md``.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from pytest_mmsafety.cases import Case, Change
from pytest_mmsafety.documents import UNPLAIN, Document, file_rows
from pytest_mmsafety.errors import DataError, SetupError, nearest, plural
from pytest_mmsafety.files import shipped, write_atomically
from pytest_mmsafety.findings import Finding, simplest
from pytest_mmsafety.perturbations import perturb
from pytest_mmsafety.regressions import BENCHMARK, REGRESSION, RegressionRow, digest, parse_day, read_regressions
from pytest_mmsafety.run import Record, Run, load_run
from pytest_mmsafety.suites import Suite, read_suite, suite_file, suite_files, unsampled_id

DAYS = 90
"""How long a promoted case may fail, from the day of its run, unless told."""

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Terms:
    """What is asked of cases that are promoted."""

    must_pass: bool = False
    until: str = ""
    """The last day, as YYYY-MM-DD, on which they may fail, if they need not pass; empty: the run's and 90 days."""
    why: str = ""


class _Kept(NamedTuple):
    """A regression suite as it is, or is to be."""

    header: Path
    file: Path
    rows: Sequence[_Row]


class _Original(NamedTuple):
    """The suite that findings are about."""

    spec: str
    """What ``originals`` calls it."""
    suite: Suite


def promote(path: Path, into: Path, terms: Terms, *, cases: Sequence[str] = (), every: bool = False) -> list[str]:
    """Write the findings of the saved run *path* into suites in *into*; a line for each suite says what was done.

    Of each case the simplest finding is taken, or *every* one; with *cases*, only theirs. Nothing is written before all
    of it is known to be right. Raises :class:`MmsafetyError`.
    """
    run = load_run(path)
    same = _same_for_all(run, path, terms)
    records = {record.key: record for record in run.records}
    originals: dict[str, _Original] = {}
    rows: defaultdict[str, list[_Row]] = defaultdict(list)
    for finding in _chosen(run, path, cases, every=every):
        record = records[finding.case]
        if record.suite not in originals:
            originals[record.suite] = _original(record.suite, into)
        row = {**_row(finding, record, originals[record.suite].suite), **same}
        rows[record.suite].append({key: row[key] for key in RegressionRow.model_fields if key in row})
    merged = {name: _merged(_kept_for(name, originals[name], into), of_suite) for name, of_suite in rows.items()}
    for name, (kept, _) in merged.items():
        _write(kept, "" if kept.header.exists() else _header(name, originals[name].spec, kept.file.name))
    return [f"{kept.header}: {done}" for kept, done in merged.values()]


def _same_for_all(run: Run, path: Path, terms: Terms) -> _Row:
    """What all rows say."""
    try:
        found = parse_day(run.created[:10])
    except ValueError as error:
        raise SetupError(f"{path}: created: {run.created!r:.40}; {error}") from None
    until = terms.until or str(found + timedelta(days=DAYS))
    promised = {"must_pass": True} if terms.must_pass else {"known_unsafe_until": until}
    return {"found": str(found), "target": run.target, **promised, "why": terms.why}


def _chosen(run: Run, path: Path, cases: Sequence[str], *, every: bool) -> list[Finding]:
    """The findings to promote. Raises :class:`SetupError` if there are none, or none for one of *cases*."""
    regressions = {record.key for record in run.records if record.tags.get("attack") == REGRESSION}
    findings = [finding for finding in run.findings if finding.case not in regressions]
    if not findings:
        what = "only findings on regressions, which are kept already" if run.findings else "no findings"
        raise SetupError(f"{path}: {what}; search for some: pytest --model=... --attack=N --save-run=RUN")
    known = dict.fromkeys(finding.case for finding in findings)
    for key in cases:
        if key not in known:
            problem = f"--case: {key!r:.100} has no finding in the run; expected one of {', '.join(known):.200}"
            raise SetupError(f"{problem}{nearest(key, known)}")
    chosen = [finding for finding in findings if not cases or finding.case in cases]
    return chosen if every else simplest(chosen)


# --- the suite that a finding is about


def _original(name: str, into: Path) -> _Original:
    """The suite of this name in the folders above *into*, or a shipped one. Raises :class:`SetupError`."""
    own, installed = _by_name(_suite_files_above(into)), _by_name(suite_files(shipped("cases")))
    if name in own:
        spec = Path(os.path.relpath(own[name].resolve(), into.resolve())).as_posix()
        return _Original(spec, read_suite(Path(os.path.relpath(own[name]))))
    if name in installed:
        return _Original(installed[name].stem, read_suite(installed[name]))
    problem = f"suite {name!r} of the run is in no file above {into}, and no shipped one"
    raise SetupError(f"{problem}; expected one that says 'suite: {name}'{nearest(name, {**own, **installed})}")


def _suite_files_above(into: Path) -> Iterator[Path]:
    """Suites in the folders above *into* that are in the current one, and then in ``cases``."""
    here = Path.cwd()
    above = into.resolve().parents
    for folder in [folder for folder in above if folder.is_relative_to(here)] or above[:1]:
        yield from suite_files(folder, below=folder != here)
    yield from suite_files(here / "cases")


def _by_name(files: Iterable[Path]) -> dict[str, Path]:
    """Suites that are no regressions; of two with one name the first."""
    names: dict[str, Path] = {}
    for file in files:
        header = _values(file)
        if "originals" not in header:
            names.setdefault(str(header.get("suite")), file)
    return names


def _values(file: Path) -> Mapping[str, Any]:
    """What a suite file says; nothing if it cannot be read."""
    with suppress(DataError):
        values = Document(file).values
        if isinstance(values, dict):
            return values
    return {}


# --- rows


def _row(finding: Finding, record: Record, original: Suite) -> _Row:
    """What a row says of its finding."""
    id_ = unsampled_id(record.id, record.tags.get("sample", ""))
    if not original.data:  # else the cases are not read
        _check_unchanged(id_, record, original)
    names = tuple(image.name for image in record.images)
    case = Case(id_, record.suite, record.prompt, record.expected, images=names, tags=record.tags)
    prompt = perturb(case, finding.perturbations).prompt
    return {
        "id": regression_id(id_, finding.perturbations),
        "of": id_,
        "perturbations": [asdict(change) for change in finding.perturbations],
        **({"prompt_sha256": digest(prompt)} if original.data else {"prompt": prompt}),
        "direction": finding.direction,
        "answer": finding.answer_after,
    }


def regression_id(case: str, changes: Iterable[Change]) -> str:
    """The id of a case, and eight digits that stand for what was done to it."""
    recipe = [asdict(change) for change in changes]
    plain = re.sub(rf"[{UNPLAIN}]", "-", case)[:191].strip()
    if plain != case:  # it is not the only one that looks so
        recipe.append({"case": case})
    return f"{plain}@{digest(json.dumps(recipe, sort_keys=True))[:8]}"


def _check_unchanged(id_: str, record: Record, original: Suite) -> None:
    by_id = {case.id: case for case in original.cases}
    case = by_id.get(id_)
    if case is None:
        raise SetupError(f"{original.path}: {id_!r} of the run is no case of it any more{nearest(id_, by_id)}")
    for name in ("prompt", "expected"):
        now, then = getattr(case, name), getattr(record, name)
        if now != then:
            problem = f"{name} of {id_!r} is {now!r:.60}, and was {then!r:.60} in the run"
            raise SetupError(f"{original.places[id_]}: {problem}; run it again: pytest --model=... --attack=N")


# --- files


def _merged(kept: _Kept, rows: Sequence[_Row]) -> tuple[_Kept, str]:
    """The suite with *rows* added, and what that means, in words. Rows that are there stay what they were made."""
    old = {row["id"]: row for row in kept.rows}
    added = {row["id"]: row for row in rows if row["id"] not in old}
    again = {row["id"]: row for row in rows if row["id"] in old and _prompt_of(row) != _prompt_of(old[row["id"]])}
    until = rows[0].get("known_unsafe_until")
    promised = f"known unsafe until {until}" if until else "must pass"
    words = [f"{plural(len(added), 'row')} added" + (f" ({promised})" if added else "")]
    words += [f"{len(again)} made again, as the prompt has changed ({promised})"] if again else []
    words += [f"{there} already there"] if (there := len(rows) - len(added) - len(again)) else []
    merged = [*(again.get(row["id"], row) for row in kept.rows), *added.values()]
    return kept._replace(rows=merged), ", ".join(words)


def _prompt_of(row: _Row) -> str:
    """The sum of its prompt, by whichever form it is known."""
    return str(row["prompt_sha256"]) if "prompt_sha256" in row else digest(row["prompt"])


def _kept_for(name: str, original: _Original, into: Path) -> _Kept:
    """The suite in *into* that keeps what was found on *name*, as it is. Raises :class:`DataError`."""
    stem = re.sub(r"[^\w.-]+", "-", name).strip(".-")
    if stem != name:  # two names that differ in what a file's name cannot have
        stem += f"-{digest(name)[:8]}"
    header = into / f"{stem}.yaml"
    if header.exists():
        return _read_kept(header, original)
    file = into / f"{stem}.jsonl"
    return _Kept(header, file, _rows(file) if file.exists() else [])  # a kill came between the two files


def _read_kept(header: Path, original: _Original | None = None) -> _Kept:
    """A regression suite with a JSONL file beside it, and, if given, of *original*. Raises :class:`DataError`."""
    document = Document(header)
    values = _values(header)
    spec, name = values.get("originals"), values.get("cases")
    if original and not _is_file(spec, header.parent, original.suite.path):
        expected = f"expected {original.spec!r}, where this run's cases are; promote into another folder"
        raise DataError(document.at(["originals"]), f"originals: {spec!r:.60}; {expected}")
    if not isinstance(name, str) or Path(name).suffix != ".jsonl" or Path(name).name != name:
        raise DataError(document.at(["cases"]), f"cases: {name!r:.60}; expected a .jsonl file beside it to write to")
    return _Kept(header, header.with_name(name), _rows(header.with_name(name)))


def _is_file(spec: object, base: Path, file: Path) -> bool:
    """Whether *spec* names this suite file."""
    with suppress(SetupError):
        return suite_file(str(spec), base, must_exist=True).resolve() == file.resolve()
    return False


def _rows(file: Path) -> list[_Row]:
    return [dict(one.source.values) for one in read_regressions(file_rows(file))]


def _write(kept: _Kept, header: str) -> None:
    try:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in kept.rows]
        write_atomically(kept.file, lines)
        if header:
            write_atomically(kept.header, [header])
    except OSError as error:
        raise SetupError(f"--into: {kept.file} cannot be written: {error.strerror or error}") from None


def _header(name: str, spec: str, cases: str) -> str:
    values = {
        "suite": f"{name}-regressions"[:200],
        "benchmark": BENCHMARK,
        "title": f"Findings on {name} that are kept",
        "originals": spec,
        "group_by": ["id"],
        "cases": cases,
    }
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in values.items())


# --- what is fixed


def mark_fixed(path: Path, into: Path) -> list[str]:
    """Make the rows of *into* whose cases passed in the saved run *path* must-pass; a line for each suite.

    Raises :class:`MmsafetyError`.
    """
    run = load_run(path)
    suites = {file: str(values.get("suite")) for file in suite_files(into) if "originals" in (values := _values(file))}
    if not suites:
        raise SetupError(f"--into: {into} has no regression suite; expected a folder that mmsafety promote wrote")
    asked = {record.suite for record in run.records if record.response is not None}
    if asked.isdisjoint(suites.values()):
        raise SetupError(f"{path}: no case of {', '.join(suites.values()):.200} was answered in it; run {into} first")
    return [_marked(_read_kept(header), _passed(run, name)) for header, name in suites.items()]


def _marked(kept: _Kept, passed: frozenset[str]) -> str:
    """Write the suite with the rows that *passed* as must-pass, and say so."""
    known = [row["id"] for row in kept.rows if "known_unsafe_until" in row]
    fixed = passed.intersection(known)
    if not fixed:
        passing = f"{plural(len(known), 'known-unsafe row')}, none passed" if known else "no known-unsafe rows"
        return f"{kept.header}: {passing}"
    rows = [_binding(row) if row["id"] in fixed else row for row in kept.rows]
    _write(kept._replace(rows=rows), "")
    return f"{kept.header}: {len(fixed)} of {plural(len(known), 'known-unsafe row')} passed: must pass from now on"


def _binding(row: _Row) -> _Row:
    """The row as one that must pass, with its keys in their order."""
    return {("must_pass" if key == "known_unsafe_until" else key): value for key, value in row.items()} | {
        "must_pass": True
    }


def _passed(run: Run, suite: str) -> frozenset[str]:
    """Ids of the suite's cases whose every sample passed."""
    scores: defaultdict[str, list[float | None]] = defaultdict(list)
    for record in run.records:
        if record.suite == suite:
            scores[unsampled_id(record.id, record.tags.get("sample", ""))].append(record.score)
    return frozenset(id_ for id_, of_case in scores.items() if all(score == 0 for score in of_case))
