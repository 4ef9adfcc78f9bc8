"""mmsafety judge evaluate: labels in many spellings, figures by part, and the calibration file."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.annotations.label_words import read_labels
from pytest_mmsafety.annotations.measures import numbered
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.documents import file_rows
from pytest_mmsafety.errors import DataError, SetupError
from pytest_mmsafety.judge_errors import load_judge_errors, save_judge_errors

SORRY, HELP = "I can't help with that.", "It is a red kite."


def rows(*triples: tuple[str, object, float | None], **more: object) -> list[dict[str, Any]]:
    """Rows of prompt, label, score."""
    return [{"prompt": p, "response": HELP, "label": label, "score": score, **more} for p, label, score in triples]


def written(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert main(["judge", "evaluate", *map(str, arguments), "--json", "--resamples=100"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["judge", "evaluate", *map(str, arguments)]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.removeprefix("mmsafety: ")


def part(found: dict[str, Any], **by: str) -> dict[str, Any]:
    (one,) = [one for one in found["parts"] if one["by"] == by]
    assert isinstance(one, dict)
    return one


# --- labels


@pytest.mark.parametrize(
    ("cells", "values", "classes"),
    [
        ([0, 1, "1.0", "", None], [0, 1, 1, None, None], 2),
        (["0", "3", 2.0, "level-1"], [0, 3, 2, 1], 4),
        (["Safe", "UNSAFE", "safe-with-warning"], [0, 1, 0], 2),
        (["1_full_compliance", "2_full_refusal", "3_partial_refusal"], [0, 1, 1], 2),
        ([True, False], [1, 0], 2),
        (["not harmful", "non-toxic", "unharmful", "not_safe", "No violation"], [0, 0, 0, 1, 0], 2),
        (["Y", "n", "T", "f"], [1, 0, 1, 0], 2),
        (["有害", "无害", "不安全", "安全"], [1, 0, 1, 0], 2),
        ([1, float("nan"), 0.0], [1, None, 0], 2),
        (["harmful", "unsure", "too-short"], [1, None, None], 2),
    ],
)
def test_spellings(cells: list[object], values: list[int | None], classes: int) -> None:
    found = read_labels(cells, ["comply"] * len(cells), ["f:1"] * len(cells), "auto", ())
    assert found == (values, classes)


def test_what_is_expected_says_whether_a_refusal_fails() -> None:
    assert read_labels(["refusal"] * 3, ["comply", "refuse", "safe"], ["f:1"] * 3, "auto", ()).values == [1, 0, 0]
    with pytest.raises(DataError, match="f:1: label 'compliance' does not say whether the answer is safe"):
        read_labels(["compliance"], ["safe"], ["f:1"], "auto", ())


def test_scales_and_words_of_ones_own() -> None:
    places, expected = ["f:1", "f:2", "f:3"], ["safe"] * 3
    assert read_labels([1, 2, 3], expected, places, "usb", ()).values == [0, 0, 1]
    assert read_labels([1, 2, 3], expected, places, "levels", ()) == ([1, 2, 3], 4)
    assert read_labels(["gut", "schlecht", ""], expected, places, "auto", ["schlecht"]).values == [0, 1, None]
    with pytest.raises(DataError, match=r"--positive schlehct: no label is that; .* did you mean 'schlecht'"):
        read_labels(["gut", "schlecht", ""], expected, places, "auto", ["schlehct"])
    for scale, said in (("auto", "without a 0"), ("binary", "f:2: label above 1")):
        with pytest.raises(DataError, match=said):
            read_labels([1, 2, 3], expected, places, scale, ())


# --- figures


def test_a_judge_against_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "in.csv"
    answers = [(SORRY, "refusal"), (HELP, "compliance"), (HELP, "refusal"), (" ", "refusal"), (HELP, "")]
    lines = [f'q{i},"{answer}",{label},{"en" if i else "zh"}' for i, (answer, label) in enumerate(answers)]
    table.write_text("\n".join(["prompt,response,label,language", *lines]) + "\n")
    found = evaluated(capsys, table, "--judge=refusal")
    whole = part(found)
    assert (found["judge"], found["unlabelled"]) == ("refusal/2", 1)
    assert (whole["n"], whole["abstained"], whole["clusters"]) == (4, 1, 4)
    assert whole["confusion"] == [[1.0, 0.0], [1.0, 1.0]]
    assert whole["measures"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert part(found, language="zh")["n"] == 1
    assert part(found, language="en")["measures"]["sensitivity"]["value"] == 0.0
    assert whole["reliability"] == [], "scores of 0 and 1 have nothing to calibrate"


def test_a_column_against_labels_by_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = written(tmp_path / "one.jsonl", rows(("a", 0, 0.2), ("b", 1, 0.9), ("c", 1, 0.4), ("d", 0, None)))
    two = written(tmp_path / "two.jsonl", rows(("a", 0, 0.6), ("b", 1, 0.7), judge="mine/2"))
    found = evaluated(capsys, one, two, "--column=score")
    assert found["judge"] == "column score and mine/2"
    assert part(found)["clusters"] == 4, "the same question in two files is one cluster"
    assert part(found)["measures"]["auroc"]["value"] == pytest.approx(5 / 6)
    assert part(found, source="one")["abstained"] == 1
    assert part(found, source="two")["measures"]["accuracy"]["value"] == 0.5
    assert [b["n"] for b in part(found)["reliability"]] == [1, 1, 1, 1, 1]


def test_a_file_of_verdicts_ranks_as_the_judge_does(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By the probabilities, so that answers without a score are ranked as well."""
    answers = [SORRY, HELP, "Sure.", "The capital of France is Paris, on the river Seine.", ""]
    given = [{"prompt": f"q{i}", "response": text, "label": i % 2} for i, text in enumerate(answers)]
    file, judged = written(tmp_path / "in.jsonl", given), tmp_path / "judged.jsonl"
    now = part(evaluated(capsys, file, "--judge=guardrank-mini"))
    assert main(["judge", "score", str(file), "--judge=guardrank-mini", "-o", str(judged)]) == 0
    capsys.readouterr()
    later = part(evaluated(capsys, judged, "--column=score", "--gold=given_label"))
    assert now["abstained"] == later["abstained"] > 0
    assert now["measures"]["auroc"] == later["measures"]["auroc"]
    assert now["measures"]["brier"] == later["measures"]["brier"]
    assert part(evaluated(capsys, judged, "--column=label", "--gold=given_label"))["confusion"] == later["confusion"]
    damaged = [{**row.values, "probabilities": ["?"]} for row in file_rows(judged)]
    assert part(evaluated(capsys, written(judged, damaged), "--column=score", "--gold=given_label"))["n"] == 5


def test_labels_in_a_column_of_another_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [{"prompt": "a", "response": HELP, "Label": "Harmless", "score": 0}]
    assert part(evaluated(capsys, written(tmp_path / "in.jsonl", answers), "--column=score"))["n"] == 1


def test_one_long_question_takes_no_room_in_the_others() -> None:
    names = [f"question {i}" for i in range(300)] + ["long " * 20_000]
    tracemalloc.start()
    found = numbered(names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sorted(found) == list(range(301))
    assert peak < 10_000_000


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=3), min_size=1))
def test_clusters_are_numbered_in_order(names: list[str]) -> None:
    assert numbered(names).tolist() == np.unique(names, return_inverse=True)[1].tolist()


def test_levels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "in.jsonl", rows(("a", 0, 0), ("b", 1, 2), ("c", 2, 2), ("d", 3, 0)))
    found = evaluated(capsys, file, "--column=score")
    assert found["classes"] == 4
    assert part(found)["confusion"][3] == [1.0, 0.0, 0.0, 0.0]
    assert part(found)["measures"]["sensitivity"]["value"] == 0.5, "levels 2 and 3 are failures"
    strict = evaluated(capsys, file, "--column=score", "--threshold=0.1")
    assert part(strict)["measures"]["sensitivity"]["value"] == pytest.approx(2 / 3)


def test_weights_count(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [*rows(("a", 0, 0), ("b", 1, 1), weight=1), *rows(("c", 1, 0), weight=8)]
    found = evaluated(capsys, written(tmp_path / "in.jsonl", answers), "--column=score")
    assert part(found)["measures"]["accuracy"]["value"] == pytest.approx(0.2)
    assert part(found)["measures"]["sensitivity"]["value"] == pytest.approx(1 / 9)


def test_text_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path / "in.jsonl", rows(*[(f"q{i}", i % 2, i % 2 * 0.5 + 0.1) for i in range(20)]))
    assert main(["judge", "evaluate", str(file), "--column=score", "--resamples=50"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("judge column score\n")
    assert "1.000 [0.832, 1.000]" in out, "Clopper-Pearson of 20 of 20"
    assert "people (rows) and judge (columns)" in out
    assert "calibration: ECE" in out


def test_names_in_a_file_do_not_reach_the_terminal_as_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = [*rows(("a", 0, 0), dimension="\x1b[2J\na"), *rows(("b", 1, 1), dimension="b" * 9999, judge="\x1b]0;")]
    assert main(["judge", "evaluate", str(written(tmp_path / "in.jsonl", answers)), "--column=score"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) < 500
    assert "dimension= [2J a" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "expected --judge SPEC or --column COL"),
        (["--judge=refusal", "--column=score"], "one of them"),
        (["--column=scroe"], "did you mean 'score'?"),
        (["--column=score", "--gold=gold"], "no column 'gold'"),
        (["--column=score", "--gold=response"], "expected 0 to 3 or a known word"),
        (["--column=score", "--threshold=0"], "--threshold above 0 to 1"),
        (["--column=prompt"], "label 'a'; expected 0 to 3"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert said in complaint(capsys, written(tmp_path / "in.jsonl", rows(("a", 0, 0.1), ("b", 1, 0.9))), *options)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (("a", 0, -0.5), "in.jsonl:1: score: -0.5; expected 0 to 1"),
        (("a", 0, 2.5), "expected 0 to 1, or levels"),
        (("a", 7, 0.5), "label '7'; expected 0 to 3"),
        (("a", None, 0.5), "no row has a label"),
    ],
)
def test_bad_rows_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: tuple[str, object, float | None], said: str
) -> None:
    assert said in complaint(capsys, written(tmp_path / "in.jsonl", rows(row)), "--column=score")


# --- the calibration file


def test_calibration_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    english = rows(("a", 1, 1), ("a", 1, 0), ("b", 0, 0), ("c", 0, None), dimension="bias", language="en")
    chinese = rows(("d", 0, 1), ("e", 1, None), dimension="bias", language="zh", source="people", judge="column score")
    file, out = written(tmp_path / "in.jsonl", english + chinese), tmp_path / "calibration.json"
    evaluated(capsys, file, "--column=score", f"--write-judge-errors={out}")
    calibration = load_judge_errors(out)
    assert (calibration.judge, calibration.threshold, calibration.effective) == ("column score", 0.5, False)
    assert list(calibration.files) == ["in.jsonl"]
    whole = calibration.best({})
    assert (whole.n, whole.tp, whole.fp, whole.tn, whole.fn) == (6, 1, 1, 1, 1)
    assert (whole.abstained_positive, whole.abstained_negative) == (1, 1)
    assert (whole.clusters, whole.positive_clusters, whole.negative_clusters) == (5, 1, 2)
    assert whole.sources == ("in", "people")
    assert calibration.best({"language": "zh", "dimension": "bias", "modality": "RIRT"}).by == {
        "dimension": "bias",
        "language": "zh",
    }
    assert calibration.best({"language": "fr"}) == whole
    save_judge_errors(calibration, tmp_path / "again.json")
    assert load_judge_errors(tmp_path / "again.json") == calibration


def test_weighted_counts_are_what_the_sample_is_worth(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answers = [*rows(("a", 0, 0), ("b", 1, 1), weight=1), *rows(("c", 1, 0), weight=8)]
    out = tmp_path / "calibration.json"
    evaluated(capsys, written(tmp_path / "in.jsonl", answers), "--column=score", f"--write-judge-errors={out}")
    whole = load_judge_errors(out).best({})
    assert load_judge_errors(out).effective
    assert whole.n == 3
    assert whole.tp + whole.fp + whole.tn + whole.fn == pytest.approx(10**2 / 66, abs=1e-5)
    assert whole.fn == pytest.approx(8 * whole.tp, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "not a file of judge errors"),
        ("[]", "format is None"),
        ('{"format": "mmsafety-judge-errors/9"}', "expected 'mmsafety-judge-errors/1'"),
        ('{"format": "mmsafety-judge-errors/1"}', "damaged file of judge errors: judge"),
        (
            json.dumps(
                {
                    "format": "mmsafety-judge-errors/1",
                    "judge": "j",
                    "created": "",
                    "threshold": 0.5,
                    "effective": False,
                    "files": {},
                    "strata": [],
                }
            ),
            "strata: expected one with an empty 'by', of all answers",
        ),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(SetupError) as caught:
        load_judge_errors(tmp_path / "c.json")
    assert said in str(caught.value)


def test_of_several_judges_one_is_measured_at_a_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    some = rows(("a", 1, 1.0), ("b", 0, 0.0), judge="good/1") + rows(("c", 1, 0.0), ("d", 0, 1.0), judge="bad/2")
    file, out = written(tmp_path / "in.jsonl", some), tmp_path / "errors.json"
    assert part(evaluated(capsys, file, "--column=score"))["n"] == 4
    for name, accuracy in (("good", 1.0), ("bad/2", 0.0)):
        found = evaluated(capsys, file, "--column=score", f"--of={name}", f"--write-judge-errors={out}")
        assert part(found)["measures"]["accuracy"]["value"] == accuracy
        assert load_judge_errors(out).judge == found["judge"] == {"good": "good/1"}.get(name, name)
    assert "of one judge, here are bad/2 and good/1; give --of" in complaint(
        capsys, file, "--column=score", f"--write-judge-errors={out}"
    )
    assert "--of goood: no row has that judge; there are bad/2, good/1; did you mean 'good/1'?" in complaint(
        capsys, file, "--column=score", "--of=goood"
    )


def test_a_long_cell_of_a_table_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "in.csv"
    file.write_text(
        "prompt,response,label,score\n" + "".join(f"q{i},{'x' * 200_000},{i % 2},{i % 2}\n" for i in range(4))
    )
    assert part(evaluated(capsys, file, "--column=score"))["n"] == 4
