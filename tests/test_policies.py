"""Thresholds files: what they become, and one line for everything that is wrong with one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.documents import Document
from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.files import shipped
from pytest_mmsafety.gates import ASSURANCE, EVIDENCE
from pytest_mmsafety.metrics import METRICS
from pytest_mmsafety.policies import find_policy, json_schema, read_policy

HEAD = "policy: p\ngates:\n"
GOOD = HEAD + "  - {name: a, metric: accuracy, min: 0.5}\n"


def policy(folder: Path, text: str | bytes) -> Path:
    path = folder / "p.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def complaint(path: Path) -> str:
    with pytest.raises(SetupError) as error:
        read_policy(path)
    message = str(error.value)
    assert message.startswith("--thresholds: ")
    assert "\n" not in message
    return message.removeprefix("--thresholds: ").replace(f"{path.parent}/", "")


def test_defaults_fill_what_a_gate_leaves_out(tmp_path: Path) -> None:
    text = """\
policy: strict
description: words
defaults: {rule: assurance, alpha: 0.01, max_unscored: 0}
gates:
  - {name: a, metric: accuracy, min: 0.5}
  - name: b
    metric: over_refusal_rate
    where: {benchmark: usb, language: [zh, en]}
    max: 1
    rule: evidence
    alpha: 0.2
    max_unscored: 0.5
    judge: mmsafeaware-legacy
    why: 因为
"""
    read = read_policy(policy(tmp_path, text))
    first, second = read.gates
    assert read.name == "strict"
    assert (first.rule, first.alpha, first.max_unscored, first.where) == (ASSURANCE, 0.01, 0.0, {})
    assert (second.rule, second.alpha, second.max_unscored) == (EVIDENCE, 0.2, 0.5)
    assert second.where == {"benchmark": ("usb",), "language": ("zh", "en")}
    assert (second.max, second.min, second.judge, second.why) == (1.0, None, "mmsafeaware-legacy", "因为")


def test_without_defaults_a_gate_asks_for_evidence_of_harm_at_95_percent(tmp_path: Path) -> None:
    (gate,) = read_policy(policy(tmp_path, GOOD)).gates
    assert (gate.rule, gate.alpha, gate.max_unscored) == (EVIDENCE, 0.05, 0.1)


@pytest.mark.parametrize("text", [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, "# 注释\n" + GOOD, "---\n" + GOOD])
def test_line_ends_and_marks_do_not_matter(tmp_path: Path, text: str) -> None:
    assert [gate.name for gate in read_policy(policy(tmp_path, text)).gates] == ["a"]


GATE = HEAD + "  - name: a\n    metric: accuracy\n    min: 0.5\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"\xff\xfe\x00", "p.yaml: not UTF-8 (byte 0 is 0xff)"),
        ("policy: [", "p.yaml:*: not valid YAML:*"),
        ("policy: a\npolicy: b\n", "p.yaml:2: not valid YAML: key 'policy' is given twice"),
        ("a: &x [1]\nb: *x\n", "p.yaml:2: YAML aliases are not allowed (*x); write the value out"),
        ("policy: p\ndefaults:\n  <<: {alpha: 0.1}\n", "p.yaml:3: not valid YAML: merge keys are not allowed (<<); write the values out"),
        (GATE.replace("name: a", "name: a/b"), "p.yaml:3: gates.0.name: 'a/b': expected letters, digits, '.', '_' and '-' only"),
        ("policy: !!python/object:os.system x\n", "p.yaml:1: not valid YAML: could not determine a constructor*"),
        ("policy: p\n? [a, b]\n: c\n", "p.yaml:2: not valid YAML: a key has to be plain text"),
        ("policy: p\n", "p.yaml:1: gates: missing; expected a value for it"),
        ("policy: p\ngates: []\n", "p.yaml:2: gates: []: *at least 1 item*"),
        ("policy: p\ngates: yes\n", "p.yaml:2: gates: 'yes': expected a valid list"),
        ("gates:\n  - {name: a, metric: accuracy, min: 0.5}\n", "p.yaml:1: policy: missing; expected a value for it"),
        ("policy: 5\ngates: []\n", "p.yaml:1: policy: 5: expected a valid string"),
        (GOOD + "onesided: true\n", "p.yaml:4: onesided: unknown key; expected one of policy,*; did you mean 'one_sided'?"),
        (GOOD + "one_sided: 1\n", "p.yaml:4: one_sided: 1: expected a valid boolean"),
        (GOOD + "defaults: {rule: proof}\n", "p.yaml:4: defaults.rule: 'proof': expected 'evidence' or 'assurance'"),
        (GOOD + "defaults: {alpha: 0.5}\n", "p.yaml:4: defaults.alpha: 0.5: expected less than 0.5"),
        (
            "policy: p\ngates:\n  - {name: a, metric: accuracy, min: 0.5, max_gone: 0.1}\n",
            "p.yaml:3: gates.0: *a: max_gone compares with a baseline; expected max_regression beside it",
        ),
        (GOOD + "defaults: {alpha: 0}\n", "p.yaml:4: defaults.alpha: 0: expected greater than or equal to 0.000001"),
        (GOOD + "defaults: {alpa: 0.1}\n", "p.yaml:4: defaults.alpa: unknown key; expected one of rule, alpha, max_unscored,*; did you mean 'alpha'?"),
        (GATE.replace("    min", "    mni"), "p.yaml:5: gates.0.mni: unknown key; expected one of name,*; did you mean 'min'?"),
        (GATE.replace("accuracy", "acuracy"), "p.yaml:3: *metric: 'acuracy' is not known; expected one of attack_success_rate,*; did you mean 'accuracy'?"),
        (GATE.replace("0.5", "50"), "p.yaml:5: gates.0.min: 50: expected less than or equal to 1"),
        (GATE.replace("0.5", "-0.1"), "p.yaml:5: gates.0.min: -0.1: expected greater than or equal to 0"),
        (GATE.replace("0.5", ".nan"), "p.yaml:5: gates.0.min: nan: expected *"),
        (GATE.replace("0.5", "50 %"), "p.yaml:5: gates.0.min: '50 %': expected a valid number*"),
        (GATE.replace("    min: 0.5\n", ""), "p.yaml:3: *a: higher accuracy is better; expected a bound 'min'*"),
        (GATE.replace("min", "max"), "p.yaml:3: *a: higher accuracy is better; expected a bound 'min', not 'max'"),
        (GATE.replace("accuracy", "failure_rate"), "p.yaml:3: *a: lower failure_rate is better; expected a bound 'max', not 'min'"),
        (GATE + "    max: 0.7\n", "p.yaml:3: *a: higher accuracy is better; expected a bound 'min', not 'max'"),
        (GATE + "    where: usb\n", "p.yaml:6: gates.0.where: 'usb': expected a valid dictionary"),
        (GATE + "    where: {level: 3}\n", "p.yaml:6: gates.0.where.level: 3: expected a valid string"),
        (GATE + "    rule: prove\n", "p.yaml:6: gates.0.rule: 'prove': expected 'evidence' or 'assurance'"),
        (GATE.replace("name: a", "name: a b"), "p.yaml:3: gates.0.name: 'a b': expected letters,*"),
        (GATE + "  - accuracy\n", "p.yaml:6: gates.1: 'accuracy': expected a valid dictionary*"),
        (GOOD + "  - {name: a, metric: accuracy, min: 0.9}\n", "p.yaml:4: two gates are called 'a'"),
        (GOOD + "defaults: {family: bonferroni}\n", "p.yaml:4: defaults.family: 'bonferroni': expected 'holm', 'fdr' or 'none'"),
        (GATE + "    max_regression: 2\n", "p.yaml:6: gates.0.max_regression: 2: expected less than or equal to 1"),
        (GATE + "    max_regression: -0.1\n", "p.yaml:6: gates.0.max_regression: -0.1: expected greater than or equal to 0"),
        (GATE + "    min_cases: -1\n", "p.yaml:6: gates.0.min_cases: -1: expected greater than or equal to 0"),
        (GATE + "    min_clusters: 2.5\n", "p.yaml:6: gates.0.min_clusters: 2.5: expected a valid integer"),
        (GATE + "    zero_tolerance: violence\n", "p.yaml:6: gates.0.zero_tolerance: 'violence': expected a valid list"),
        (GATE + "    zero_tolerance: [{}]\n", "p.yaml:6: gates.0.zero_tolerance*"),
        (GATE.replace("    min: 0.5\n", ""), "p.yaml:3: *expected a bound 'min', or 'max_regression', or 'zero_tolerance'"),
        (GATE.replace("0.5", "1") + "    rule: assurance\n", "p.yaml:3: a: min: 1 with rule assurance can never pass, *"),
        (HEAD + "  - {name: a, metric: failure_rate, max: 0, rule: assurance}\n", "p.yaml:3: a: max: 0 with rule assurance can never pass, *"),
    ],
)  # fmt: skip
def test_everything_wrong_is_one_line_that_helps(tmp_path: Path, text: str | bytes, expected: str) -> None:
    message = complaint(policy(tmp_path, text))
    assert re.fullmatch(re.escape(expected).replace(r"\*", ".*"), message), message


@pytest.mark.parametrize("text", ["", "[]", "null", "5", "words"])
def test_a_file_that_is_no_mapping_is_told_what_a_policy_is(tmp_path: Path, text: str) -> None:
    message = complaint(policy(tmp_path, text))
    assert message.startswith("p.yaml:1: ")
    assert "_PolicyFile" not in message


def test_a_gate_of_no_value_is_refused(tmp_path: Path) -> None:
    assert "where.category" in complaint(policy(tmp_path, GATE + "    where: {category: []}\n"))


def test_a_judge_that_is_not_known_is_refused(tmp_path: Path) -> None:
    message = complaint(policy(tmp_path, GATE + "    judge: yes-noo\n"))
    assert re.fullmatch(
        r"p\.yaml:3: .*judge: 'yes-noo' is not known; expected one of choice,.*; did you mean 'yes-no'\?", message
    )


def test_true_is_no_bound(tmp_path: Path) -> None:
    complaint(policy(tmp_path, HEAD + "  - {name: a, metric: failure_rate, max: true}\n"))


@pytest.mark.parametrize(
    ("metrics", "message"),
    [
        (["attack_success_rate"], "bounds harm but not over-refusal*add a gate on over-refusal*"),
        (["over_refusal_rate"], "bounds over-refusal but not harm*add a gate on harm*"),
        (["over_refusal_rate", "unscored_rate"], "bounds over-refusal but not harm*"),
        (["attack_success_rate", "over_refusal_rate"], ""),
        (["attack_success_rate", "failure_rate"], ""),
        (["failure_rate"], ""),
        (["unscored_rate"], ""),
        (["over_refusal_rate", "failure_rate", "attack_success_rate"], ""),
    ],
)
def test_a_policy_of_one_side_is_refused(tmp_path: Path, metrics: list[str], message: str) -> None:
    text = HEAD + "".join(f"  - {{name: g{i}, metric: {metric}, max: 0.1}}\n" for i, metric in enumerate(metrics))
    if message:
        assert re.fullmatch(re.escape("p.yaml: " + message).replace(r"\*", ".*"), complaint(policy(tmp_path, text)))
    else:
        read_policy(policy(tmp_path, text))
    assert read_policy(policy(tmp_path, text + "one_sided: true\n")).gates


@pytest.mark.parametrize(
    ("gates", "message"),
    [
        (["{metric: attack_success_rate, max: 0.1}", "{metric: over_refusal_rate, max: 1}"], "bounds harm but not over-refusal"),
        (["{metric: attack_success_rate, max: 1}", "{metric: over_refusal_rate, max: 1}"], ""),
        (["{metric: attack_success_rate, max: 1, max_regression: 0.1}"], "bounds harm but not over-refusal"),
        (["{metric: attack_success_rate, zero_tolerance: [x]}"], "bounds harm but not over-refusal"),
        (["{metric: accuracy, min: 0.9, where: {aspect: vulnerability}}"], "bounds harm but not over-refusal"),
        (["{metric: accuracy, min: 0.9, where: {aspect: over-refusal}}"], "bounds over-refusal but not harm"),
        (["{metric: balanced_accuracy, min: 0.51}"], ""),
        (["{metric: balanced_accuracy, min: 0.5}"], "bounds neither harm nor over-refusal"),
        (["{metric: balanced_accuracy, max_regression: 0.01}"], ""),
        (["{metric: mmsafeaware_overall_macro, min: 0.66}"], "bounds harm but not over-refusal"),
        (["{metric: mmsafeaware_overall_macro, min: 0.67}"], ""),
    ],
)  # fmt: skip
def test_what_a_model_that_always_refuses_could_pass_bounds_no_refusal(
    tmp_path: Path, gates: list[str], message: str
) -> None:
    rows = "".join(f"  - {gate.replace('{metric', f'{{name: g{i}, metric', 1)}\n" for i, gate in enumerate(gates))
    path = policy(tmp_path, HEAD + rows)
    if message:
        assert message in complaint(path)
    else:
        read_policy(path)


def test_what_a_gate_may_say_besides_a_bound(tmp_path: Path) -> None:
    text = """\
policy: p
defaults: {min_cases: 20, min_clusters: 5, family: fdr}
gates:
  - name: a
    metric: accuracy
    max_regression: 0.02
    zero_tolerance: [violence, {language: zh, category: [x, y]}]
  - {name: b, metric: accuracy, min: 0.5, min_cases: 0, family: none}
"""
    first, second = read_policy(policy(tmp_path, text)).gates
    assert (first.max, first.min, first.max_regression) == (None, None, 0.02)
    assert first.zero_tolerance == ({"category": ("violence",)}, {"language": ("zh",), "category": ("x", "y")})
    assert (first.min_cases, first.min_clusters, first.family) == (20, 5, "fdr")
    assert (second.min_cases, second.min_clusters, second.family) == (0, 5, "none")
    assert second.max_regression is None
    assert second.zero_tolerance == ()


def test_the_schema_for_editors_is_up_to_date() -> None:
    """If this fails: write ``policies.json_schema()`` to thresholds/schema.json."""
    assert (shipped("thresholds") / "schema.json").read_text(encoding="utf-8") == json_schema()


def test_the_schema_accepts_the_shipped_policies_and_refuses_nonsense() -> None:
    schema = json.loads(json_schema())
    rows = schema["$defs"]["GateRow"]["properties"]
    for file in shipped("thresholds").glob("*.yaml"):
        content = Document(file).values
        assert set(content) <= set(schema["properties"])
        for gate in content["gates"]:
            assert set(gate) <= set(rows)
            assert gate["metric"] in rows["metric"]["enum"]
    assert all("description" in row for row in rows.values())
    assert schema["$defs"]["GateRow"]["additionalProperties"] is False


def test_shipped_policies_load_and_say_why() -> None:
    files = sorted(shipped("thresholds").glob("*.yaml"))
    assert "release" in [file.stem for file in files]
    for file in files:
        read = read_policy(file)
        assert read.name == file.stem
        assert all(gate.why for gate in read.gates) or read.name.endswith("-report")
        assert {METRICS[gate.metric].side for gate in read.gates}


@given(st.text(max_size=300))
def test_any_text_is_a_policy_or_one_line(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with pytest.raises(SetupError) as error:
        read_policy(path)
    assert "\n" not in str(error.value)


# --- which file


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    for name in ("own", "shipped"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "release.yaml").write_text(GOOD)
    (tmp_path / "own" / "nightly.yaml").write_text(GOOD)
    (tmp_path / "shipped" / "embedded.yaml").write_text(GOOD)
    return [tmp_path / "own", tmp_path / "shipped"]


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("release", "own/release.yaml"),
        ("nightly", "own/nightly.yaml"),
        ("embedded", "shipped/embedded.yaml"),
        ("shipped/release.yaml", "shipped/release.yaml"),
        ("./shipped/../own/nightly.yaml", "own/nightly.yaml"),
    ],
)
def test_a_policy_by_path_or_by_name(tmp_path: Path, folders: list[Path], spec: str, found: str) -> None:
    assert find_policy(spec, folders, tmp_path).resolve() == tmp_path / found
    absolute = tmp_path / found
    assert find_policy(str(absolute), folders, Path("/")) == absolute


@pytest.mark.parametrize("spec", ["realease", "release.yml", "own", "", "no/such/file.yaml"])
def test_a_policy_that_is_nowhere(tmp_path: Path, folders: list[Path], spec: str) -> None:
    with pytest.raises(SetupError) as error:
        find_policy(spec, folders, tmp_path)
    message = str(error.value)
    assert message.startswith(f"--thresholds: {spec!r} is neither a file nor one of embedded, nightly, release")
    assert message.endswith("; did you mean 'release'?") == spec.startswith("re")


def test_a_name_that_is_too_long_for_any_file(tmp_path: Path) -> None:
    with pytest.raises(SetupError):
        find_policy("x" * 300, [], tmp_path)
