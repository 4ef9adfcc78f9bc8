"""mmsafety judge label and import: what people see, what they must not see, and what comes back."""

from __future__ import annotations

import csv
import hashlib
import json
import random
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pytest_mmsafety.annotations.imports import bring_together
from pytest_mmsafety.annotations.sample import AT_LEAST, _allocate, draw, failure_of, item_name, run_name
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.documents import file_rows
from pytest_mmsafety.errors import MmsafetyError
from pytest_mmsafety.files import shipped
from pytest_mmsafety.run import ImageRef, Record, Run, SuiteInfo, save_run
from pytest_mmsafety.verdicts import Verdict

ATTACK = (
    "</script><script>document.title='PWNED'</script><!--<script> \"'><img src=x onerror=alert(1)> "
    "{{ 7 * 191 }} {% x %} </textarea></title> \u2028 \u202e ]]>"
)


def record(number: int, response: str | None = "An answer.", **more: Any) -> Record:
    return Record(
        **{
            "key": f"demo/{number}",
            "suite": "demo",
            "id": str(number),
            "tags": {"language": "zh" if number % 4 == 0 else "en", "dimension": "bias"},
            "expected": "comply",
            "prompt": f"Question {number}?",
            "images": (),
            "cluster": f"c{number}",
            "response": response,
            "verdicts": (Verdict("refusal/1", "refusal" if number % 10 == 0 else "compliance", float(number % 10 == 0)),),
            "error": "",
            "skipped": "",
            "seconds": 0.0,
            "stored": False,
        }
        | more
    )  # fmt: skip


def run_of(*records: Record) -> Run:
    suites = (SuiteInfo("demo", "demo", "Demo", "", len(records)),)
    return Run("secret-model", "f" * 64, "2026-01-01T00:00:00+00:00", "0", {}, {}, suites, records)


HUNDRED = run_of(*(record(i) for i in range(100)))


def saved(run: Run, folder: Path) -> Path:
    save_run(run, folder / "run.json")
    return folder / "run.json"


def ok(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["judge", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def complaint(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    assert main(["judge", *map(str, arguments)]) == 4
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    return err.removeprefix("mmsafety: ")


# --- the sample


def test_a_sample_is_in_proportion_and_of_every_stratum() -> None:
    sample = draw(HUNDRED, 50, 0, ["verdict"], "binary")
    drawn = Counter(item.record.verdicts[0].label for item in sample.items)
    assert drawn == {"compliance": 45, "refusal": 5}
    few = draw(HUNDRED, 20, 0, ["verdict"], "binary")
    assert Counter(item.record.verdicts[0].label for item in few.items)["refusal"] == AT_LEAST
    assert sum(item.weight for item in few.items) == pytest.approx(100), "weights undo the minimum"
    assert {item.weight for item in few.items} == {90 / 15, 10 / 5}


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(1, 200))
def test_allocation(sizes: list[int], total: int) -> None:
    total = max(total, len(sizes))
    given = _allocate(sizes, total)
    assert sum(given) == min(total, sum(sizes))
    assert all(1 <= share <= size for share, size in zip(given, sizes, strict=True))


def test_a_sample_depends_on_its_arguments_alone() -> None:
    shuffled = list(HUNDRED.records)
    random.Random(1).shuffle(shuffled)
    first = draw(HUNDRED, 30, 3, ["language"], "binary")
    assert draw(HUNDRED, 30, 3, ["language"], "binary") == first
    assert [item.name for item in draw(HUNDRED, 30, 4, ["language"], "binary").items] != [i.name for i in first.items]
    assert [item.record.key for item in first.items] != sorted(item.record.key for item in first.items)


def test_an_item_has_one_name_in_every_sample_of_a_run_and_another_in_another_run() -> None:
    of_all = {item.record.key: item.name for item in draw(HUNDRED, 100, 0, [], "binary").items}
    of_some = {item.record.key: item.name for item in draw(HUNDRED, 20, 9, ["language"], "levels").items}
    assert of_some.items() <= of_all.items()
    other = replace(HUNDRED, records=(record(0, "Changed."), *HUNDRED.records[1:]))
    assert run_name(other) != run_name(HUNDRED)
    assert item_name(run_name(other), record(1)) != of_all["demo/1"]


def test_answers_that_are_not_there_are_not_drawn() -> None:
    run = run_of(record(0, None, error="broken"), record(1), record(2, ""))
    assert {item.record.id for item in draw(run, 200, 0, [], "binary").items} == {"1", "2"}


# --- the page


class Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        self._inside = tag == "script"

    def handle_endtag(self, tag: str) -> None:
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.scripts[-1] += data


@pytest.fixture
def labelled_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Page, Path]:
    Image.new("RGB", (1200, 600), (200, 0, 0)).save(tmp_path / "a.png")
    digest = hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()
    images = (
        ImageRef("a.png", digest),
        ImageRef(ATTACK, "00"),
        ImageRef("../../etc/passwd", "00"),
        ImageRef("a.png", "11"),
    )
    run = run_of(record(0, ATTACK, prompt=ATTACK, images=images, expected=ATTACK, tags={ATTACK: ATTACK}), record(1))
    ok(capsys, "label", saved(run, tmp_path), "-o", tmp_path / "out", "--images", tmp_path)
    return Page((tmp_path / "out" / "label.html").read_text()), tmp_path / "out"


def test_a_hostile_answer_is_only_text(labelled_page: tuple[Page, Path]) -> None:
    page, folder = labelled_page
    assert [tag for tag, _ in page.tags].count("script") == 2
    assert not {"img", "iframe", "textarea", "object", "base", "link"} & {tag for tag, _ in page.tags}
    assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]
    assert not [attrs for _, attrs in page.tags if "src" in attrs or "href" in attrs], "asks the network for nothing"
    assert "1337" not in (folder / "label.html").read_text()
    item = next(item for item in json.loads(page.scripts[0])["items"] if "PWNED" in item["response"])
    assert item["response"].startswith("</script><script>document.title='PWNED'")
    assert "⟨U+202E⟩" in item["response"], "what turns the text around is written out"
    assert "innerHTML" not in page.scripts[1]


def test_only_the_pages_own_script_may_run(labelled_page: tuple[Page, Path]) -> None:
    import base64

    page, _ = labelled_page
    (policy,) = [attrs["content"] for _, attrs in page.tags if attrs.get("http-equiv") == "Content-Security-Policy"]
    own = base64.b64encode(hashlib.sha256(page.scripts[1].encode()).digest()).decode()
    assert policy
    assert "default-src 'none'" in policy
    assert re.findall(r"script-src ([^;]*)", policy) == [f"'sha256-{own}'"]


def test_images_are_small_checked_and_from_their_folder(labelled_page: tuple[Page, Path]) -> None:
    page, _ = labelled_page
    images = json.loads(page.scripts[0])["images"]
    assert sorted("webp" in image for image in images) == [False, False, False, True]
    problems = " ".join(image.get("problem", "") for image in images)
    assert problems.count("no file with this name and this content was found") == 3
    assert "../../etc/passwd: no file" in problems


def test_pictures_of_shipped_suites_are_found_and_lost_ones_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file = min((shipped("cases") / "images").glob("*.png"))
    found = ImageRef(f"images/{file.name}", hashlib.sha256(file.read_bytes()).hexdigest())
    run = saved(run_of(record(0, images=(found,)), record(1, images=(found, ImageRef("b.png", "11")))), tmp_path)
    assert main(["judge", "label", str(run), "-o", "out"]) == 0
    assert capsys.readouterr().err == "mmsafety: 1 of 2 pictures was not found; name their folder with --images\n"
    images = json.loads(Page(Path("out/label.html").read_text()).scripts[0])["images"]
    assert sorted("webp" in image for image in images) == [False, True]


def test_nobody_is_told_what_the_judge_said_or_which_model_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ok(capsys, "label", saved(HUNDRED, tmp_path), "-o", tmp_path / "out", "--n", 20)
    for name in ("items.csv", "items.jsonl"):
        text = (tmp_path / "out" / name).read_text()
        assert not re.search("refusal|compliance|secret-model|demo/|0\\.0|1\\.0", text)
    data = Page((tmp_path / "out" / "label.html").read_text()).scripts[0]
    assert not re.search("refusal|compliance|secret-model|demo/", data)


def test_a_table_that_is_opened_computes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = run_of(record(0, "=1+1"), record(1, '图\n"quoted", text'), record(2, "@SUM(A1)"))
    ok(capsys, "label", saved(run, tmp_path), "-o", tmp_path / "out")
    content = (tmp_path / "out" / "items.csv").read_bytes()
    assert content.startswith(b"\xef\xbb\xbf")
    cells = {row["response"] for row in csv.DictReader(content.decode("utf-8-sig").splitlines(keepends=True))}
    assert cells == {"'=1+1", '图\n"quoted", text', "'@SUM(A1)"}


def test_another_sample_does_not_overwrite_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = saved(HUNDRED, tmp_path), tmp_path / "out"
    first = ok(capsys, "label", run, "-o", out, "--n", 20)
    assert ok(capsys, "label", run, "-o", out, "--n", 20) == first
    assert "another sample lies there" in complaint(capsys, "label", run, "-o", out, "--n", 21)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--n", "0"], "--n 0: expected a number from 1 on"),
        (["--n", "1"], "makes 4 strata"),
        (["--by", "langage"], "did you mean 'language'?"),
    ],
)
def test_bad_options_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    assert said in complaint(capsys, "label", saved(HUNDRED, tmp_path), "-o", tmp_path / "out", *options)


# --- back again


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
    assert "--write-calibration" in complaint(capsys, "evaluate", gold, "--column=score", "--write-calibration", gold)
