"""Baselines: saved runs that later ones are held against, what must be the same for that, and how a run becomes one."""

from __future__ import annotations

import getpass
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from pytest_mmsafety.cases import Case
from pytest_mmsafety.documents import strict_json, strictly
from pytest_mmsafety.errors import SetupError, nearest, plural
from pytest_mmsafety.files import beside, file_or_name, left_over
from pytest_mmsafety.images import digest_or_empty
from pytest_mmsafety.perturbations import edit_digest
from pytest_mmsafety.run import Record, Run, RunSettings, load_run

FOLDER = Path("reports", "baselines")
HISTORY = "history.jsonl"
"""Beside the baselines: who made which run one, when and why, a promotion a line."""

DECODING, JUDGE, CASES = "decoding", "judge", "cases"
KINDS = (DECODING, JUDGE, CASES)
"""What can differ between two runs so that a comparison would not be about the model; also the words that allow it."""
_NAMED = 3
_UNFINISHED = re.compile(r"\.(.+)\.json\.[0-9]+\.")
_IGNORED = frozenset({"seed"})
"""Arguments of the target that may differ."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same in both runs."""

    kind: str
    """One of :data:`KINDS`."""
    text: str


@dataclass(frozen=True, slots=True)
class Promotion:
    """A line of the history."""

    name: str
    target: str
    created: str
    """Of the run, UTC."""
    sha256: str
    """Of the run file."""
    who: str
    when: str
    why: str


def find_baseline(spec: str, base: Path, root: Path) -> Path:
    """The run file that ``--baseline`` names: a path below *base*, or the name of a promoted one below *root*."""
    named = {path.stem: path for path in sorted((root / FOLDER).glob("*.json"))}
    kind = "a saved run" if named else f"a saved run (and none was promoted to {FOLDER} yet)"
    return file_or_name(spec, base, named, "--baseline: ", kind)


def load_baseline(spec: str, base: Path, root: Path) -> Run:
    """Raises :class:`SetupError` in one line if there is no such run or it is damaged."""
    try:
        _finish_promotions(root)
    except SetupError as error:
        raise SetupError(f"--baseline: {error}") from None
    path = find_baseline(spec, base, root)
    try:
        run = load_run(path)
        _check_promoted(path, root)
    except SetupError as error:
        raise SetupError(f"--baseline: {error}") from None
    return run


def _check_promoted(path: Path, root: Path) -> None:
    """Raise :class:`SetupError` if the history knows the baseline with another content."""
    if path.parent.resolve() != (root / FOLDER).resolve():
        return
    sums = {promotion.name: promotion.sha256 for promotion in history(root)}
    if sums.get(path.stem, found := _sha256(path)) != found:
        again = f"mmsafety baseline promote RUN --name={path.stem} --why=..."
        raise SetupError(f"{path}: it is not the file that {HISTORY} says was promoted; promote it again: {again}")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def parse_allowed(text: str) -> frozenset[str]:
    """``decoding,judge`` as a set of kinds."""
    allowed = frozenset(part.strip() for part in text.split(",") if part.strip())
    for kind in sorted(allowed - set(KINDS)):
        raise SetupError(f"--baseline-allow: {kind!r}; expected some of {', '.join(KINDS)}{nearest(kind, KINDS)}")
    return allowed


def run_differences(run: Run, baseline: Run) -> list[Difference]:
    """All that differs between two saved runs."""
    return [
        *setting_differences(run.settings, baseline.settings),
        *record_differences(run.records, baseline.records),
        *judge_differences(run.records, baseline.records),
    ]


def setting_differences(settings: RunSettings, baseline: RunSettings) -> list[Difference]:
    """Decoding settings and extra judges that differ, a line each.

    The model may differ, it is what is compared; so may whatever changes no answer: batch size, subset, samples, seed.
    """
    judges = {"judge": settings.judge}, {"judge": baseline.judge}
    return [
        *_value_differences(DECODING, "model_args.", settings.model_args, baseline.model_args),
        *_value_differences(JUDGE, "", *judges),
        *_value_differences(JUDGE, "judge_args.", settings.judge_args, baseline.judge_args),
        *_attack_differences(settings, baseline),
    ]


def _attack_differences(settings: RunSettings, baseline: RunSettings) -> Iterator[Difference]:
    """Where both were attacked, the searches must have been alike: twice the calls find more."""
    if settings.attack and baseline.attack:
        now, then = ({"attack": str(one.attack)} for one in (settings, baseline))
        yield from _value_differences(CASES, "", now, then)
        yield from _value_differences(CASES, "attack_args.", settings.attack_args, baseline.attack_args)


def _value_differences(kind: str, prefix: str, now: Mapping[str, str], then: Mapping[str, str]) -> Iterator[Difference]:
    for name in sorted((now.keys() | then.keys()) - _IGNORED):
        value, before = now.get(name, ""), then.get(name, "")
        if value != before:
            yield Difference(kind, f"{prefix}{name} is {value or 'not set'}, was {before or 'not set'}")


def case_differences(cases: Sequence[Case], baseline: Sequence[Record]) -> list[Difference]:
    """Cases of the same key that are asked or held to something else. New and gone ones are no difference."""
    digests: dict[str, str] = {}
    for case in cases:
        for image in case.images:
            if image not in digests:
                digests[image] = digest_or_empty(image)
    asked = (
        Content(case.key, case.prompt, case.expected, tuple(_digest(digests[image], case) for image in case.images))
        for case in cases
        if not case.skip
    )
    return _content_differences(asked, baseline)


def _digest(sha256: str, case: Case) -> str:
    return edit_digest(sha256, case.edits) if sha256 else ""


def record_differences(records: Iterable[Record], baseline: Sequence[Record]) -> list[Difference]:
    """The same for the records of a run."""
    return _content_differences(map(_content, records), baseline)


class Content(NamedTuple):
    """What a case asks, and what it is held to."""

    key: str
    prompt: str
    expected: str
    images: tuple[str, ...]
    """SHA-256 of each, empty where it could not be read."""


def _content(record: Record) -> Content:
    return Content(record.key, record.prompt, record.expected, tuple(image.sha256 for image in record.images))


def _content_differences(asked: Iterable[Content], baseline: Sequence[Record]) -> list[Difference]:
    before = {record.key: _content(record) for record in baseline}
    shared = [(now, before[now.key]) for now in asked if now.key in before]
    if not shared:
        return [Difference(CASES, "no case is in both")]
    keys = [now.key for now, then in shared if not _same(now, then)]
    if not keys:
        return []
    named = ", ".join(keys[:_NAMED]) + (" ..." if len(keys) > _NAMED else "")
    return [Difference(CASES, f"{plural(len(keys), 'case')} with another prompt, image or expectation: {named}")]


def _same(now: Content, then: Content) -> bool:
    """Images that could not be read tell nothing."""
    readable = all(now.images) and all(then.images)
    return now[:3] == then[:3] and (now.images == then.images or not readable)


def judge_differences(records: Sequence[Record], baseline: Sequence[Record]) -> list[Difference]:
    """Judges, with their versions, whose verdicts are gated in one run and not in the other on the same cases."""
    before = {record.key: record.verdicts[0].judge for record in baseline if record.verdicts}
    pairs = {(r.verdicts[0].judge, before[r.key]) for r in records if r.verdicts and r.key in before}
    return [Difference(JUDGE, f"judged by {now}, was {then}") for now, then in sorted(pairs) if now != then]


def refusal(differences: Iterable[Difference], allowed: frozenset[str]) -> str:
    """Why the two runs are not compared, in one line, or empty."""
    refused = [difference for difference in differences if difference.kind not in allowed]
    if not refused:
        return ""
    kinds = ",".join(kind for kind in KINDS if kind in {difference.kind for difference in refused})
    return f"{'; '.join(d.text for d in refused)} (compare all the same: --baseline-allow={kinds})"


def promote(path: Path, name: str, root: Path, *, why: str, anyway: bool = False) -> Path:
    """Make the saved run *path* the baseline *name* and note who, when and why.

    Raises :class:`SetupError` for a run that is not whole or that its own gates block, unless *anyway*.
    """
    if re.fullmatch(r"[\w][\w.-]{0,99}", name) is None:
        raise SetupError(f"--name: {name!r:.60} is not a plain name")
    run = load_run(path)
    if not anyway and (reason := _unfit(run)):
        raise SetupError(f"{path}: {reason}; promote another run, or say --anyway")
    content = path.read_bytes()
    folder = root / FOLDER
    target = folder / f"{name}.json"
    promotion = Promotion(
        name=name,
        target=run.target,
        created=run.created,
        sha256=hashlib.sha256(content).hexdigest(),
        who=_user(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        why=why,
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _finish_promotions(root)
        new = beside(target)
        new.write_bytes(content)
        with (folder / HISTORY).open("a", encoding="utf-8", newline="\n") as file:
            file.write(json.dumps(asdict(promotion), ensure_ascii=False) + "\n")
        new.replace(target)  # after a kill before this, the next command does it
    except OSError as error:
        raise SetupError(f"{target} cannot be written: {error.strerror or error}") from None
    return target


def _finish_promotions(root: Path) -> None:
    """Put in place what a promotion that was killed had noted, and remove what it had not."""
    noted = {promotion.name: promotion.sha256 for promotion in history(root)}
    with suppress(OSError):  # a folder that may only be read: the check against the history says what is wrong
        for name in {match[1] for file in (root / FOLDER).glob(".*") if (match := _UNFINISHED.match(file.name))}:
            target = root / FOLDER / f"{name}.json"
            for new in left_over(target):
                if _sha256(new) == noted.get(name):
                    new.replace(target)
                else:
                    new.unlink()


def _unfit(run: Run) -> str:
    """Why a run should not be what others are held against."""
    unanswered = sum(record.response is None and not record.skipped for record in run.own_records)
    if unanswered:
        return f"{unanswered} of {plural(len(run.own_records), 'case')} without an answer"
    saved = sum(record.skip_kind == "early-stop" for record in run.records)
    if saved:
        cases = plural(len(run.records), "case")
        return f"an early stop left out {saved} of {cases}: no later run can be compared on them"
    blocking = [result.gate.name for result in run.gates if result.blocks]
    return f"its own gates block: {', '.join(blocking[:_NAMED])}" if blocking else ""


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user
        return "unknown"


def history(root: Path) -> list[Promotion]:
    """All promotions, oldest first."""
    path = root / FOLDER / HISTORY
    try:
        lines = path.read_text("utf-8").split("\n") if path.exists() else []
    except (OSError, ValueError) as error:
        raise SetupError(f"{path}: damaged: {error}") from None
    return [_promotion(line, f"{path}:{number}") for number, line in enumerate(lines, 1) if line.strip()]


def _promotion(line: str, where: str) -> Promotion:
    try:
        values = strict_json(line)
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, got {line!r:.60}")
        return strictly(values, Promotion)
    except ValueError as error:
        raise SetupError(f"{where}: damaged: {error}") from None


def same_content(one: Record, other: Record) -> bool:
    """Whether both were asked the same and are held to the same. Images that could not be read are never the same."""
    return (
        one.prompt == other.prompt
        and one.expected == other.expected
        and len(one.images) == len(other.images)
        and all(a.sha256 == b.sha256 != "" for a, b in zip(one.images, other.images, strict=True))
    )
