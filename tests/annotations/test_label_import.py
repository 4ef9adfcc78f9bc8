"""mmsafety judge import: people's labels come back, and become the labels to measure a judge with."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
from label_runs import HUNDRED, complaint, ok, saved

from pytest_mmsafety.annotations.imports import bring_together
from pytest_mmsafety.annotations.sample import failure_of, item_name, run_name
from pytest_mmsafety.documents import file_rows
from pytest_mmsafety.errors import MmsafetyError
from pytest_mmsafety.run import Run


@pytest.mark.parametrize(
    ("answer", "expected", "label"),
    [
        ("yes", "safe", 1), ("no", "safe", 0), ("yes", "comply", 1), ("no", "comply", 0),
        ("yes", "refuse", 0), ("no", "refuse", 1), ("yes", "B", 0), ("no", "yes", 1),
        ("unsure", "safe", None), ("3", "refuse", 3),
    ],
)  # fmt: skip
def test_what_an_answer_says(answer: str, expected: str, label: int | None) -> None:
    assert failure_of(answer, expected) == label


def labels(folder: Path, of: Run, person: str, answers: dict[int, str], **more: object) -> Path:
    """What the page would save."""
    name = run_name(of)
    rows = [
        {"format": "mmsafety-label/1", "run": name, "item": item_name(name, of.records[number]),
         "annotator": person, "answer": answer, "note": "", "at": "2026-01-02", **more}
        for number, answer in answers.items()
    ]  # fmt: skip
    folder.mkdir(exist_ok=True)
    file = folder / f"labels-{person}{len(list(folder.iterdir()))}.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def test_two_people_and_a_third_who_decides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = {i: "yes" if i < 10 else "no" for i in range(20)} | {20: "unsure"}
    second = first | {0: "no", 19: "yes", 20: "unsure"}
    files = [labels(tmp_path / "l", HUNDRED, "ann", first), labels(tmp_path / "l", HUNDRED, "ben", second)]
    run, gold = saved(HUNDRED, tmp_path), tmp_path / "gold.jsonl"
    out = ok(capsys, "import", *files, "--run", run, "-o", gold)
    assert "21 answers: 18 agreed, 2 tie, 1 unsure" in out
    assert "ann and ben: 18 of 20 agree, 0.90 [" in out
    assert "Cohen's kappa 0.80 [" in out
    assert "2 disagreements:\n  demo/0: ann yes, ben no -> no label (tie)" in out
    assert "no sample.json" in out
    rows = [row.values for row in file_rows(gold)]
    assert [row["label"] for row in rows] == [None] + [1] * 9 + [0] * 9 + [None, None]
    assert rows[1] | {"votes": {"ann": "yes", "ben": "yes"}, "key": "demo/1", "cluster": "c1", "source": "demo",
                      "language": "en", "dimension": "bias", "expected": "comply", "score": 0.0} == rows[1]  # fmt: skip

    third = labels(tmp_path / "l", HUNDRED, "cat", {0: "yes", 19: "no"})
    out = ok(capsys, "import", *files, third, "--run", run, "-o", gold, "--adjudicator", "cat")
    assert "2 adjudicated, 18 agreed, 1 unsure" in out
    assert "cat and" not in out
    assert [row.values["label"] for row in file_rows(gold)][:2] == [1, 1]


@pytest.mark.parametrize(
    ("answers", "label", "decided"),
    [
        (["yes"], 1, "single"),
        (["yes", "yes"], 1, "agreed"),
        (["yes", "unsure"], None, "unsure"),
        (["yes", "no", "unsure"], None, "tie"),
        (["yes", "yes", "no"], 1, "majority"),
        (["no", "no", "unsure"], 0, "majority"),
        (["unsure"], None, "unsure"),
    ],
)
def test_most_of_the_people_decide(tmp_path: Path, answers: list[str], label: int | None, decided: str) -> None:
    files = [labels(tmp_path / "l", HUNDRED, f"p{i}", {0: answer}) for i, answer in enumerate(answers)]
    (row,) = bring_together(files, HUNDRED, "").rows
    assert (row["label"], row["decided"]) == (label, decided)


def test_the_result_is_what_evaluate_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = saved(HUNDRED, tmp_path), tmp_path / "out"
    ok(capsys, "label", run, "-o", out, "--n", 40)
    answers = {}
    for row in file_rows(out / "items.jsonl"):
        number = int(re.findall(r"\d+", row.values["prompt"])[0])
        answers[number] = "yes" if number % 10 == 0 else "no"
    file = labels(out, HUNDRED, "ann", answers)
    assert "no sample.json" not in ok(capsys, "import", file, "--run", run, "-o", tmp_path / "gold.jsonl")
    found = json.loads(ok(capsys, "evaluate", tmp_path / "gold.jsonl", "--column=score", "--json", "--resamples=20"))
    assert found["judge"] == "refusal/1"
    assert found["parts"][0]["n"] == 40
    assert found["parts"][0]["measures"]["kappa"]["value"] == 1.0
    assert sum(map(sum, found["parts"][0]["confusion"])) == pytest.approx(100), "weights make the whole run of it"


def test_a_filled_table_is_as_good_as_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = saved(HUNDRED, tmp_path), tmp_path / "out"
    ok(capsys, "label", run, "-o", out, "--n", 20, "--scale=levels")
    rows = list(csv.DictReader((out / "items.csv").read_text(encoding="utf-8-sig").splitlines(keepends=True)))
    for row, answer in zip(rows, ["0", "3", "2.0", "Unsure", ""], strict=False):
        row["answer"] = answer
    with (out / "labels-dora.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert "4 answers: 3 single, 1 unsure" in ok(capsys, "import", out / "labels-dora.csv", "--run", run,
                                                 "-o", tmp_path / "gold.jsonl")  # fmt: skip
    gold = [row.values for row in file_rows(tmp_path / "gold.jsonl")]
    assert sorted(row["label"] for row in gold if row["label"] is not None) == [0, 2, 3]
    assert {who for row in gold for who in row["votes"]} == {"dora"}


def test_the_later_of_two_downloads_counts(tmp_path: Path) -> None:
    late = labels(tmp_path / "l", HUNDRED, "ann", {0: "no"}, at="2026-01-03T10:00:00Z")
    early = labels(tmp_path / "l", HUNDRED, "ann", {0: "yes", 1: "yes"}, at="2026-01-03T09:00:00Z")
    for files in ([late, early], [early, late]):
        assert [row["label"] for row in bring_together(files, HUNDRED, "").rows] == [0, 1]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"run": "other"}, "labels of run 'other'"),
        ({"item": "nothing"}, "expected an answer of this run"),
        ({"answer": "yess"}, "did you mean 'yes'?"),
        ({"annotator": "x" * 50}, "expected a short name"),
        ({"annotator": "a\x1b[31m"}, "expected a short name"),
        ({"answer": ""}, "no labels"),
    ],
)
def test_labels_that_do_not_fit_are_one_line(tmp_path: Path, change: dict[str, str], said: str) -> None:
    file = labels(tmp_path / "l", HUNDRED, "ann", {0: "yes"}, **change)
    with pytest.raises(MmsafetyError) as caught:
        bring_together([file], HUNDRED, "")
    assert said in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_other_things_that_do_not_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = saved(HUNDRED, tmp_path)
    ann = labels(tmp_path / "l", HUNDRED, "ann", {0: "yes"})
    again = labels(tmp_path / "l", HUNDRED, "ann", {0: "no"})
    level = labels(tmp_path / "l", HUNDRED, "ben", {0: "2"})
    gold = ("--run", run, "-o", tmp_path / "gold.jsonl")
    assert "ann said 'yes' and 'no'" in complaint(capsys, "import", ann, again, *gold)
    assert "are mixed" in complaint(capsys, "import", ann, level, *gold)
    assert "did you mean 'ann'?" in complaint(capsys, "import", ann, *gold, "--adjudicator=anne")
    (tmp_path / "l" / "sample.json").write_text('{"format": "mmsafety-label-sample/1", "run": "x", "weights": {}}')
    assert "of another run or sample" in complaint(capsys, "import", ann, *gold)
    (tmp_path / "l" / "sample.json").write_text("[]")
    assert "not a sample file" in complaint(capsys, "import", ann, *gold)
    assert not (tmp_path / "gold.jsonl").exists()


@pytest.mark.parametrize("weight", ["NaN", "Infinity", "-Infinity", "0", "-1", "1e9", "1" + "0" * 400, "null"])
def test_a_weight_that_no_sample_gives_is_one_line(tmp_path: Path, weight: str) -> None:
    file = labels(tmp_path / "l", HUNDRED, "ann", {0: "yes"})
    about = tmp_path / "l" / "sample.json"
    item = item_name(run_name(HUNDRED), HUNDRED.records[0])
    about.write_text(
        f'{{"format": "mmsafety-label-sample/1", "run": "{run_name(HUNDRED)}", "weights": {{"{item}": {weight}}}}}'
    )
    with pytest.raises(MmsafetyError) as caught:
        bring_together([file], HUNDRED, "")
    assert str(caught.value).startswith(f"{about}: weights: '{item}': ")
    assert str(caught.value).endswith("; expected a number above 0 and below 1,000,000,000")


@pytest.mark.parametrize(("scale", "answer", "wanted"), [("binary", "1", "yes, no, unsure"), ("levels", "yes", "0, 1")])
def test_answers_to_another_question_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], scale: str, answer: str, wanted: str
) -> None:
    """A 1 written for yes would be a failure also where a yes is as expected."""
    run, out = saved(HUNDRED, tmp_path), tmp_path / "out"
    ok(capsys, "label", run, "-o", out, "--n=100", f"--scale={scale}")
    unsure = labels(out, HUNDRED, "ann", {0: "unsure"})
    ok(capsys, "import", unsure, "--run", run, "-o", tmp_path / "gold.jsonl")
    file = labels(out, HUNDRED, "ben", {0: answer})
    said = complaint(capsys, "import", file, "--run", run, "-o", tmp_path / "gold.jsonl")
    assert f"{answer!r}; expected {wanted}" in said


def test_nothing_that_is_read_is_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, gold = saved(HUNDRED, tmp_path), tmp_path / "gold.jsonl"
    file = labels(tmp_path / "l", HUNDRED, "ann", {0: "yes"})
    for read in (run, file):
        before = read.read_bytes()
        assert "is the file that is read" in complaint(capsys, "import", file, "--run", run, "-o", read)
        assert read.read_bytes() == before
    ok(capsys, "import", file, "--run", run, "-o", gold)
    assert "--write-judge-errors" in complaint(capsys, "evaluate", gold, "--column=score", "--write-judge-errors", gold)
