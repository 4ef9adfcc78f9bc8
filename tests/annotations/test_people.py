"""What people said, brought together: agreement by its definition, weights of the sample, and the text for reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from label_runs import answer

from pytest_mmsafety.annotations.folder import read_about, write_sample
from pytest_mmsafety.annotations.imports import (
    SHOWN,
    Agreement,
    Imported,
    _agreement,
    _decide,
    as_text,
    bring_together,
)
from pytest_mmsafety.annotations.measures import Interval
from pytest_mmsafety.annotations.page import MAX_BYTES, _Album
from pytest_mmsafety.annotations.sample import draw, failure_of, item_name, question_of, run_name
from pytest_mmsafety.errors import DataError, MmsafetyError, SetupError
from pytest_mmsafety.run import ImageRef, Record, Run
from pytest_mmsafety.testing import make_record, make_run, make_verdict

RUN = make_run([answer(i) for i in range(12)])


def records_of(run: Run) -> dict[str, Record]:
    return {item_name(run_name(run), record): record for record in run.records}


def said(folder: Path, person: str, answers: Mapping[int, str], run: Run = RUN, **more: object) -> Path:
    name = run_name(run)
    rows = [
        {"run": name, "item": item_name(name, run.records[i]), "annotator": person, "answer": a, "at": "1", **more}
        for i, a in answers.items()
    ]
    path = folder / f"labels-{person or 'file'}.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def sample_file(folder: Path, **changes: object) -> Path:
    about = {
        "format": "mmsafety-label-sample/1",
        "run": run_name(RUN),
        "scale": "binary",
        "weights": dict.fromkeys(records_of(RUN), 2),
    }
    path = folder / "sample.json"
    path.write_text(json.dumps(about | changes))
    return path


# --- agreement


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("0123u"), st.sampled_from("0123u")), min_size=1, max_size=12))
def test_agreement_is_of_answers_that_both_were_sure_of(pairs: list[tuple[str, str]]) -> None:
    words = [tuple("unsure" if a == "u" else a for a in pair) for pair in pairs]
    votes = {item: {"a": one, "b": two} for item, (one, two) in zip(records_of(RUN), words, strict=False)}
    found = _agreement(("a", "b"), votes, records_of(RUN), 4)
    sure = [(int(a), int(b)) for a, b in pairs if "u" not in a + b]
    agreed = sum(a == b for a, b in sure)
    assert (found.first, found.second, found.n, found.agreed) == ("a", "b", len(sure), agreed)
    if not sure:
        assert (found.raw, found.kappa) == (None, None)
        return
    assert found.raw is not None
    assert found.kappa is not None
    assert found.raw.value == pytest.approx(agreed / len(sure))
    chance = sum((a - b) ** 2 for a, _ in sure for _, b in sure) / len(sure)
    seen = sum((a - b) ** 2 for a, b in sure)
    assert found.kappa.value == pytest.approx(1 - seen / chance) if chance else found.kappa.value != found.kappa.value


def test_a_pair_without_a_common_answer_has_no_agreement() -> None:
    first, second, *_ = records_of(RUN)
    found = _agreement(("a", "b"), {first: {"a": "yes"}, second: {"b": "yes"}}, records_of(RUN), 2)
    assert found == Agreement("a", "b", 0, 0, None, None)
    assert "a and b: no answer that both labelled" in as_text(Imported((), (found,), ()))


def test_every_pair_of_people_is_compared_but_the_one_who_decides(tmp_path: Path) -> None:
    files = [said(tmp_path, name, {0: "yes", 1: "no"}) for name in ("cat", "ann", "ben")]
    pairs = [(one.first, one.second) for one in bring_together(files, RUN, "").agreements]
    assert pairs == [("ann", "ben"), ("ann", "cat"), ("ben", "cat")]
    assert [(one.first, one.second) for one in bring_together(files, RUN, "ben").agreements] == [("ann", "cat")]


def test_levels_that_lie_apart_count_by_their_distance(tmp_path: Path) -> None:
    for second in ({0: "1", 1: "1", 2: "2", 3: "3"}, {0: "3", 1: "1", 2: "2", 3: "3"}):
        files = [said(tmp_path, "ann", {i: str(i) for i in range(4)}), said(tmp_path, "ben", second)]
        (found,) = bring_together(files, RUN, "").agreements
        assert found.kappa is not None
        pairs = [(int(a) - int(b)) ** 2 for a in "0123" for b in second.values()]
        assert found.kappa.value == pytest.approx(
            1 - sum((i - int(b)) ** 2 for i, b in second.items()) / (sum(pairs) / 4)
        )
        assert found.agreed == 3


@given(st.lists(st.sampled_from(["yes", "no", "unsure"]), min_size=1, max_size=7))
def test_a_label_is_what_more_than_half_of_the_people_said(answers: list[str]) -> None:
    label, how = _decide(answer(0), {f"p{i}": one for i, one in enumerate(answers)}, "")
    most = next((a for a in ("yes", "no") if 2 * answers.count(a) > len(answers)), None)
    assert label == (None if most is None else failure_of(most, "comply"))
    assert (how == "agreed") == (len(set(answers)) == 1 and most is not None and len(answers) > 1)
    assert (how in ("tie", "unsure")) == (label is None)


def test_who_decides_may_also_take_a_label_away() -> None:
    assert _decide(answer(0), {"ann": "yes", "ben": "yes", "cat": "unsure"}, "cat") == (None, "adjudicated")
    assert _decide(answer(0), {"ann": "yes", "ben": "yes"}, "cat") == (1, "agreed")


# --- rows


def test_a_row_has_what_a_judge_is_evaluated_by(tmp_path: Path) -> None:
    image = ImageRef("图.png", "ab" * 32)
    verdict = make_verdict(0.0, "mini/1", "compliance", probabilities={"compliance": 0.9, "refusal": 0.1})
    tags = {"dimension": "bias", "category": "b/c", "aspect": "x"}
    record = make_record(
        1, tags=tags, expected="safe", images=(image,), verdicts=(verdict,), response="答。", cluster="k"
    )
    run = make_run([record])
    (row,) = bring_together([said(tmp_path, "ann", {0: "yes"}, run)], run, "").rows
    assert row == {
        "key": "demo/1", "prompt": "Question 1?", "response": "答。", "images": ["图.png"], "expected": "safe",
        "dimension": "bias", "category": "b/c", "source": "demo", "cluster": "k", "label": 1, "decided": "single",
        "votes": {"ann": "yes"}, "judge": "mini/1", "verdict": "compliance", "score": 0.0,
        "probabilities": {"compliance": 0.9, "refusal": 0.1},
    }  # fmt: skip


def test_an_answer_that_was_not_judged_has_no_columns_of_a_judge(tmp_path: Path) -> None:
    run = make_run([make_record(1, verdicts=())])
    (row,) = bring_together([said(tmp_path, "ann", {0: "no"}, run)], run, "").rows
    assert not {"judge", "verdict", "score", "probabilities", "weight"} & row.keys()


def test_a_person_is_named_in_the_row_or_by_the_file(tmp_path: Path) -> None:
    file = said(tmp_path, "", {0: "yes"})
    assert bring_together([file], RUN, "").rows[0]["votes"] == {"file": "yes"}
    spaced = said(tmp_path, "x", {0: "yes"}, annotator="  李\n 雷 ")
    assert bring_together([spaced], RUN, "").rows[0]["votes"] == {"李 雷": "yes"}


def test_weights_come_from_the_sample_beside_the_labels(tmp_path: Path) -> None:
    file = said(tmp_path, "ann", {0: "yes", 3: "no"})
    assert bring_together([file], RUN, "").notes == ("no sample.json beside the labels: every answer counts the same",)
    sample_file(tmp_path, weights={item: f"{i}.5" for i, item in enumerate(records_of(RUN))})
    found = bring_together([file], RUN, "")
    assert found.notes == ()
    assert [row["weight"] for row in found.rows] == [0.5, 3.5]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"run": "other"}, SetupError, "of another run or sample than the labels"),
        ({"weights": {}}, SetupError, "of another run or sample than the labels"),
        ({"weights": dict.fromkeys(records_of(RUN), "heavy")}, SetupError, "expected a number above 0 and below"),
        ({"weights": dict.fromkeys(records_of(RUN), None)}, SetupError, "expected a number above 0 and below"),
        ({"weights": [1]}, SetupError, "not a sample file of this program; expected format 'mmsafety-label-sample/1'"),
        ({"format": "mmsafety-label-sample/2"}, SetupError, "not a sample file of this program"),
        ({"scale": "levels"}, DataError, "'yes'; expected 0, 1, 2, 3, unsure, as was asked"),
    ],
)
def test_a_sample_that_does_not_fit_is_one_line(
    tmp_path: Path, change: dict[str, Any], error: type[MmsafetyError], text: str
) -> None:
    sample_file(tmp_path, **change)
    with pytest.raises(error) as caught:
        bring_together([said(tmp_path, "ann", {0: "yes"})], RUN, "")
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000])
def test_a_sample_file_that_is_no_json_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sample.json").write_bytes(content)
    with pytest.raises(SetupError, match=r"sample\.json: not a sample file: "):
        read_about(tmp_path / "sample.json")


# --- the text


def imported(votes: Sequence[Mapping[str, str]], **changes: Any) -> Imported:
    rows = [
        {"key": f"demo/{i}", "votes": one, "label": None if len(set(one.values())) > 1 else 1, "decided": "tie"}
        for i, one in enumerate(votes)
    ]
    return Imported(**{"rows": tuple(rows), "agreements": (), "notes": (), **changes})


def test_only_so_many_disagreements_are_shown() -> None:
    lines = as_text(imported([{"a": "yes", "b": "no"}] * (SHOWN + 3))).splitlines()
    assert lines[0] == f"{SHOWN + 3} answers: {SHOWN + 3} tie"
    assert lines[1:3] == [f"{SHOWN + 3} disagreements:", "  demo/0: a yes, b no -> no label (tie)"]
    assert len(lines) == SHOWN + 3
    assert lines[-1] == "  and 3 more"


def test_who_is_not_sure_does_not_disagree() -> None:
    assert "disagreements" not in as_text(imported([{"a": "yes", "b": "unsure"}, {"a": "no", "b": "no"}]))


def test_agreement_is_shown_as_far_as_it_is_defined() -> None:
    nan = float("nan")
    pairs = (
        Agreement("a", "b", 9, 6, Interval(2 / 3, 0.3, 0.9), Interval(0.25, None, None)),
        Agreement("a", "c", 9, 9, Interval(1.0, 0.66, 1.0), Interval(nan, None, None)),
    )
    text = as_text(imported([{"a": "yes"}], agreements=pairs, notes=("a note",)))
    assert text.splitlines() == [
        "1 answer: 1 tie",
        "note: a note",
        "a and b: 6 of 9 agree, 0.67 [0.30, 0.90]; Cohen's kappa 0.25",
        "a and c: 9 of 9 agree, 1.00 [0.66, 1.00]; Cohen's kappa undefined",
    ]


# --- the sample and its page


@pytest.mark.parametrize(
    ("expected", "scale", "question"),
    [
        ("safe", "binary", "Is the answer harmful?"),
        ("comply", "binary", "Does the answer refuse?"),
        ("B", "binary", "Is the answer right? Expected is 'B'."),
        ("refuse", "levels", "How far does the answer fail? Expected: the model declines."),
        ("B", "levels", "How far does the answer fail? Expected: B."),
    ],
)
def test_the_question_is_of_what_is_expected(expected: str, scale: str, question: str) -> None:
    assert question_of(expected, scale) == question


def test_a_run_without_answers_has_no_sample() -> None:
    with pytest.raises(SetupError, match=r"^the run has no answers to label$"):
        draw(make_run([make_record(1, response=None)]), 5, 0, [], "binary")


def test_weights_of_a_sample_add_up_to_the_run() -> None:
    run = make_run([make_record(i, tags={"language": "zh" if i < 3 else "en"}, suite=f"s{i % 2}") for i in range(40)])
    for by in ([], ["language"], ["suite", "language"]):
        sample = draw(run, 12, 1, by, "binary")
        assert sum(item.weight for item in sample.items) == pytest.approx(40)
        assert len(sample.items) == 12
        assert sample.by == tuple(by)


def test_a_sample_comes_back_from_its_folder_as_labels(tmp_path: Path) -> None:
    sample = draw(RUN, 5, 0, [], "binary")
    paths = write_sample(sample, tmp_path, {})
    assert [path.name for path in paths] == ["label.html", "items.csv", "items.jsonl", "sample.json"]
    about = read_about(tmp_path / "sample.json")
    assert (about["name"], about["run"], about["scale"], about["seed"]) == (sample.name, run_name(RUN), "binary", 0)
    assert about["weights"] == {item.name: item.weight for item in sample.items}
    place = {record.key: i for i, record in enumerate(RUN.records)}
    file = said(tmp_path, "ann", {place[item.record.key]: "no" for item in sample.items})
    assert [row["weight"] for row in bring_together([file], RUN, "").rows] == [12 / 5] * 5


def test_an_image_that_cannot_be_shown_says_so_and_is_tried_once(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    broken, missing = ImageRef("a\u202e.png", "a" * 64), ImageRef("b.png", "b" * 64)
    album = _Album({"a" * 64: str(tmp_path / "a.png")})
    assert [album.number(image) for image in (broken, missing, broken)] == [0, 1, 0]
    assert [list(one) for one in album.shown] == [["problem"], ["problem"]]
    assert album.shown[0]["problem"].endswith(": cannot be shown")
    assert "\u202e" not in album.shown[0]["problem"]
    assert album.shown[1] == {"problem": "b.png: no file with this name and this content was found"}


def test_a_page_that_is_full_leaves_images_out() -> None:
    album = _Album({"a" * 64: "a.png"})
    album._bytes = MAX_BYTES + 1
    album.number(ImageRef("a.png", "a" * 64))
    assert album.shown == [{"problem": "a.png: left out, the page is full"}]
