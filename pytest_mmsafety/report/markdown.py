"""A run in one screen of Markdown, for the summary page of a continuous integration job."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator

from pytest_mmsafety.baselines import same_content
from pytest_mmsafety.errors import plural
from pytest_mmsafety.report.ablation import ALL, sweep_ablation
from pytest_mmsafety.report.breaks import Broken, broken_shares
from pytest_mmsafety.report.changes import KINDS, OTHERS, kind_of
from pytest_mmsafety.report.gates import gate_rows, trouble, verdict
from pytest_mmsafety.report.judges import judges_of_gates
from pytest_mmsafety.report.states import EXPECTED, FAILING, STATES, state_of
from pytest_mmsafety.report.technique_tables import frequent
from pytest_mmsafety.report.text import count, visible
from pytest_mmsafety.report.universal_changes import UniversalChange, universal_changes
from pytest_mmsafety.run import Run

MAX_GATES = 100
MAX_TEXT = 600
"""Characters of a name or a sentence."""
_MARKUP = re.compile(r"[\\`*_\[\]#|~]")
"""What could become a link, an image, a table or a style."""
_BLOCK = re.compile(r"^(?:([0-9]+)(?=[.)](?: |$))|(?=[-+=]))")
"""Before what makes a list, a rule or a heading at the start of a line."""
_LINKED = re.compile(r"@|#(?=\d)|GH-(?=\d)|www(?=\.)|:(?=//|(?!\d\d:)[\w+-]+:)", re.IGNORECASE)
"""Names, e-mails, issues, addresses and ``:emoji:``."""
_CUT = "<!-- -->"
"""GitHub looks for names, issues and emoji in the finished page, where neither a backslash nor an entity is left.

A comment leaves two pieces of text there, and none of them is a name; unlike a zero-width space it is not copied.
"""


def markdown_summary(run: Run, baseline: Run | None = None) -> str:
    """The verdict, each gate in one row of a table (what blocks first), and what changed since the *baseline*.

    Text of the run cannot become markup: names of gates and targets come from files that others write.
    """
    return "\n".join(_lines(run, baseline)) + "\n"


def _lines(run: Run, baseline: Run | None) -> Iterator[str]:
    head = verdict(run)
    yield f"## {plain(head.headline)}"
    yield ""
    if head.detail:
        yield plain(head.detail)
        yield ""
    yield f"Target **{plain(run.target)}**, {plain(run.created)}, policy {plain(run.policy or 'none')}."
    yield f"{_counts(run)}."
    for note in (*run.failures, *run.notes):
        yield ""
        yield f"> {plain(note)}"
    if run.gates:
        yield ""
        yield from _gates(run)
    if attacked := list(_attacks(run)):
        yield ""
        yield from attacked
    if baseline is not None:
        yield ""
        yield _changes(run, baseline)


def _counts(run: Run) -> str:
    states = Counter(map(state_of, run.own_records))
    scored = states[EXPECTED] + states[FAILING]
    parts = [plural(len(run.own_records), "case"), f"{count(scored)} scored"]
    parts += [f"{count(states[state])} {state}" for state in STATES if state != EXPECTED and states[state]]
    return ", ".join(parts)


def _gates(run: Run) -> Iterator[str]:
    rows = gate_rows(run.gates, judges_of_gates(run.records, [result.gate for result in run.gates]))
    yield "| result | gate | estimate | interval | bound | cases | |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for row in rows[:MAX_GATES]:
        result = row.result
        status = f"**{result.status}, blocks**" if result.blocks else result.status
        measures = row.measures
        cells = [
            status,
            f"**{plain(result.gate.name)}**",
            "<br>".join(f"{measure.value} {plain(measure.what)}" for measure in measures) or "none",
            "<br>".join(measure.interval for measure in measures),
            "<br>".join(measure.bound or "none" for measure in measures),
            ", ".join(part for part in (f"{count(result.counts.n)} scored", trouble(result)) if part),
            plain(result.reason),
        ]
        yield f"| {' | '.join(cells)} |"
    if len(rows) > MAX_GATES:
        yield ""
        yield f"{count(len(rows) - MAX_GATES)} more gates are in the run file."


def _attacks(run: Run) -> Iterator[str]:
    """At most three lines: how many cases, how many of them broke, and by what most often."""
    added = [record for record in run.records if record.attacked_by]
    if not (added or run.findings):
        return
    modes = ", ".join(sorted({record.attacked_by for record in added}))
    cases = plural(len({record.original for record in added} or {finding.case for finding in run.findings}), "case")
    found = f"{plural(len(run.findings), 'finding')}, {plural(len(run.judge_faults), 'flip')} that are the judge's"
    yield f"Attacked{f' ({modes})' if modes else ''}: {cases}, {found}.  "
    if broken := [*map(_broken, broken_shares(added)), *map(_flipped, universal_changes(added, run.findings))]:
        yield f"Broken: {'; '.join(broken)}.  "
    if names := [f"{plain(name)} ({plural(number, 'case')})" for name, number in frequent(run.findings)[:2]]:
        yield f"Most often by {' and '.join(names)}."
    elif changed := _swept(run):
        yield changed


def _broken(of: Broken) -> str:
    if not of.share:
        return f"{of.direction}: not known"
    return f"{of.direction} {count(of.broken)} of {count(of.cases)} ({of.share}, {of.interval})"


def _flipped(change: UniversalChange) -> str:
    """On the half that had no part in choosing the change."""
    half = change.halves[-1]
    if not half.cases:
        return f"{change.direction}, held out: not known"
    return f"{change.direction}, held out {count(half.flipped)} of {count(half.cases)} ({half.share}, {half.interval})"


def _swept(run: Run) -> str:
    """The two techniques that change most."""
    table = sweep_ablation(run.records)
    rows = [row for row in table.rows if row.technique != ALL][:2] if table else []
    listed = "; ".join(f"{plain(row.technique)} {row.change} ({row.interval})" for row in rows)
    return f"Largest change: {listed}." if listed else ""


def _changes(run: Run, baseline: Run) -> str:
    before = {record.key: record for record in baseline.own_records}
    pairs = [(record, before[record.key]) for record in run.own_records if record.key in before]
    same = [(now, then) for now, then in pairs if same_content(now, then)]
    counts = Counter(kind_of(now, then) for now, then in same)
    parts = [f"{count(counts[kind])} {kind.name}" for kind in (*KINDS, *OTHERS) if counts[kind]]
    what = ", ".join(parts) or "no verdict changed"
    where = f"Since the baseline **{plain(baseline.target)}** of {plain(baseline.created)}"
    return f"{where}, on {plural(len(same), 'case')}: {what}."


def plain(text: str) -> str:
    """*text* on one line, shown as it is."""
    line = html.escape(" ".join(visible(text[:MAX_TEXT]).split()), quote=False)
    cut = _LINKED.sub(rf"\g<0>{_CUT}", line).replace("$", "<span>$</span>")  # how GitHub says to keep it from math
    return _BLOCK.sub(r"\1\\", _MARKUP.sub(r"\\\g<0>", cut))
