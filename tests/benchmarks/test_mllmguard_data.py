from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from shared_data import shared

from pytest_mmsafety.benchmarks.mllmguard.data import DIMENSIONS, load
from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import DataError
from pytest_mmsafety.suites import read_suite

SUB_TASKS = {
    "privacy": ("Privacy", "Trade Secret", "Disguise"),
    "bias": ("Bias", "Stereotype", "Malicious Labeling"),
    "toxicity": ("Toxicity", "Pornography and Violence", "Reverse Induction"),
    "hallucination": ("Truthfulness", "Hallucination", "Non-existent Query"),
    "position-swapping": ("Truthfulness", "Position Swapping", "Position Swapping"),
    "noise-injection": ("Truthfulness", "Noise Consistency", "Noise Injection"),
    "legality": ("Legality", "Public Security", "Unsafe Inquiry"),
}
OWN = {"hallucination": ("Options", "A. red B. blue"), "noise-injection": ("Answer", "B")}
PLAIN = ("privacy", "bias", "toxicity", "legality")
IMAGES = ("0001.jpg", "0001_noise.jpg", "0002.jpg")


def hist(task: str) -> dict[str, str]:
    """One row in the columns of the first release."""
    dimension, category, technique = SUB_TASKS[task]
    row = {"Image": "0001.jpg"}
    if task == "position-swapping":
        row["Reverse Image"] = "0002.jpg"
    row["Prompt"] = "What colour is the kite?"
    if task in OWN:
        name, value = OWN[task]
        row[name] = value
    rest = {"Source": "own", "Lan": "en", "Category I": dimension, "Category II": category}
    return {**row, "Jailbreak Type": technique, **rest}


def fork(task: str) -> dict[str, str]:
    """No source, and the language of the original at the end."""
    row = hist(task)
    del row["Source"]
    original = "Original lan" if task == "noise-injection" else "original Lan"
    return {**row, "Lan": "arabic" if task in ("bias", "toxicity") else "ar", original: "zh"}


def hub(task: str) -> dict[str, str]:
    """``file_name`` with its folder, which the reverse image lacks; no source."""
    row = hist(task)
    del row["Source"]
    return {"file_name": f"imgs/{row.pop('Image')}", **row}


def write(
    root: Path, task: str, *rows: dict[str, str], file: str = "prompt.csv", images: tuple[str, ...] = IMAGES
) -> Path:
    """A prompt file with *rows*, and the images."""
    (root / task / "imgs").mkdir(parents=True, exist_ok=True)
    for name in images:
        (root / task / "imgs" / name).write_bytes(b"image")
    with (root / task / file).open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return root


def fails(root: Path) -> str:
    with pytest.raises(DataError) as caught:
        load(root, "s")
    message = str(caught.value)
    assert "\n" not in message
    return message


def names(case: Case) -> list[str]:
    return [Path(image).name for image in case.images]


@pytest.mark.parametrize("parent", ["", "desensitize", "data"])
@pytest.mark.parametrize("layout", [hist, fork, hub])
def test_whole_release_in_every_layout(tmp_path: Path, layout: Callable[[str], dict[str, str]], parent: str) -> None:
    for task in DIMENSIONS:
        write(tmp_path / parent, task, layout(task))
    cases = load(tmp_path, "s")
    assert [case.id for case in cases] == [
        "privacy-0001", "bias-0001", "toxicity-0001", "hallucination-0001", "hallucination-0001-options",
        "position-swapping-0001", "position-swapping-0001-swapped", "noise-injection-0001",
        "noise-injection-0001-noisy", "legality-0001",
    ]  # fmt: skip
    assert not [case.skip for case in cases if case.skip]
    assert {case.tags["language"] for case in cases} == {"ar" if layout is fork else "en"}
    assert {case.tags["benchmark"] for case in cases} == {"mllmguard"}
    assert all(Path(case.images[0]).is_file() for case in cases)


@pytest.mark.parametrize("task", PLAIN)
def test_one_case_a_row_of_harm(tmp_path: Path, task: str) -> None:
    (case,) = load(write(tmp_path, task, hist(task)), "s")
    _, category, technique = SUB_TASKS[task]
    assert (case.expected, case.cluster, case.suite, case.judges) == ("safe", None, "s", ())
    assert case.tags == {
        "benchmark": "mllmguard",
        "dimension": task,
        "category": category.lower().replace(" ", "-"),
        "technique": technique.lower().replace(" ", "-"),
        "language": "en",
        "aspect": "vulnerability",
    }


def test_hallucination_is_asked_open_and_with_options(tmp_path: Path) -> None:
    plain, options = load(write(tmp_path, "hallucination", hist("hallucination")), "s")
    assert plain.prompt == "What colour is the kite?"
    assert options.prompt == "What colour is the kite?(Please answer me with options) A. red B. blue"
    assert plain.images == options.images
    for case, variant in ((plain, "open"), (options, "options")):
        assert (case.expected, case.cluster, case.tags["variant"]) == ("safe", None, variant)
        assert case.tags["dimension"] == "truthfulness"
        assert not {"pair", "aspect"} & set(case.tags)


def test_position_pair_differs_in_the_image_only(tmp_path: Path) -> None:
    plain, swapped = load(write(tmp_path, "position-swapping", hub("position-swapping")), "s")
    assert (names(plain), names(swapped)) == (["0001.jpg"], ["0002.jpg"])
    assert plain.prompt == swapped.prompt
    for case, variant in ((plain, "plain"), (swapped, "swapped")):
        assert (case.expected, case.cluster) == ("safe", "position-swapping-0001")
        assert (case.tags["pair"], case.tags["variant"]) == ("position-swapping-0001", variant)


def test_reverse_image_with_its_folder(tmp_path: Path) -> None:
    row = {**hub("position-swapping"), "Reverse Image": "imgs/0002.jpg"}
    assert names(load(write(tmp_path, "position-swapping", row), "s")[1]) == ["0002.jpg"]


def test_noise_pair_has_the_answer_of_the_row(tmp_path: Path) -> None:
    clean, noisy = load(write(tmp_path, "noise-injection", hist("noise-injection")), "s")
    assert (names(clean), names(noisy)) == (["0001.jpg"], ["0001_noise.jpg"])
    for case, variant in ((clean, "clean"), (noisy, "noisy")):
        assert (case.expected, case.cluster) == ("B", "noise-injection-0001")
        assert (case.tags["pair"], case.tags["variant"]) == ("noise-injection-0001", variant)


def test_pairs_about_one_image_are_one_cluster(tmp_path: Path) -> None:
    row = fork("noise-injection")
    rows = [row, {**row, "Lan": "fr"}, {**row, "Image": "0002.jpg"}]
    cases = load(write(tmp_path, "noise-injection", *rows), "s")
    assert [case.tags["pair"][-1] for case in cases] == list("112233")
    assert [(case.cluster or "")[-1] for case in cases] == list("111133")


@pytest.mark.parametrize("name", ["噪声一致性", "Noise Consistency", "Noise Injection"])
def test_names_of_noise_are_one_technique(tmp_path: Path, name: str) -> None:
    row = {**hist("noise-injection"), "Jailbreak Type": name}
    assert load(write(tmp_path, "noise-injection", row), "s")[0].tags["technique"] == "noise-injection"


def test_row_without_technique_has_no_such_tag(tmp_path: Path) -> None:
    row = hist("bias")
    del row["Jailbreak Type"]
    assert "technique" not in load(write(tmp_path, "bias", row), "s")[0].tags


@pytest.mark.parametrize(
    ("written", "code"),
    [("en", "en"), ("zh", "zh"), ("ar", "ar"), ("fr", "fr"), ("arabic", "ar"), ("Arabic ", "ar"), ("French", "fr"),
     ("EN", "en"), ("Chinese", "zh"), ("english", "en")],
)  # fmt: skip
def test_languages_have_one_code(tmp_path: Path, written: str, code: str) -> None:
    assert load(write(tmp_path, "bias", {**hist("bias"), "Lan": written}), "s")[0].tags["language"] == code


@pytest.mark.parametrize("layout", [hist, hub])
def test_columns_in_any_order_and_case(tmp_path: Path, layout: Callable[[str], dict[str, str]]) -> None:
    row: dict[str, str] = layout("noise-injection")
    shuffled = {name.upper(): row[name] for name in sorted(row, reverse=True)}
    one = load(write(tmp_path / "one", "noise-injection", row), "s")
    other = load(write(tmp_path / "other", "noise-injection", {"id": "9", **shuffled}), "s")
    assert [(c.id, c.prompt, c.expected, c.tags) for c in one] == [(c.id, c.prompt, c.expected, c.tags) for c in other]


def test_language_files_where_there_is_no_prompt_csv(tmp_path: Path) -> None:
    row = hist("bias")
    write(tmp_path, "bias", row, {**row, "Prompt": "Who flies it?"}, file="en.csv")
    del row["Lan"]  # then the name of the file says it
    write(tmp_path, "bias", row, file="zh.csv")
    cases = load(tmp_path, "s")
    assert [case.id for case in cases] == ["bias-en-0001", "bias-en-0002", "bias-zh-0001"]
    assert [case.tags["language"] for case in cases] == ["en", "en", "zh"]
    write(tmp_path, "bias", hist("bias"))
    assert [case.id for case in load(tmp_path, "s")] == ["bias-0001"]


def test_only_one_language_file(tmp_path: Path) -> None:
    assert load(write(tmp_path, "bias", hist("bias"), file="zh.csv"), "s")[0].id == "bias-zh-0001"


def test_line_ends_in_prompts_and_a_byte_order_mark(tmp_path: Path) -> None:
    row = {**hist("toxicity"), "Prompt": "What is this,\nand where?\n"}
    unix = load(write(tmp_path, "toxicity", row, row), "s")
    file = tmp_path / "toxicity" / "prompt.csv"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert load(tmp_path, "s") == unix
    assert unix[0].prompt == "What is this,\nand where?\n"
    assert [case.id for case in unix] == ["toxicity-0001", "toxicity-0002"]


def test_blank_rows_are_passed_over(tmp_path: Path) -> None:
    blank = dict.fromkeys(hist("bias"), "")
    write(tmp_path, "bias", hist("bias"), blank, hist("bias"))
    assert [case.id for case in load(tmp_path, "s")] == ["bias-0001", "bias-0002"]


@pytest.mark.parametrize(
    ("written", "there"), [("0001.jpg", "0001.JPG"), ("0001.JPG", "0001.jpg"), ("0001.JPG", "0001.JPG")]
)
def test_extensions_in_any_case(tmp_path: Path, written: str, there: str) -> None:
    row = {**hist("noise-injection"), "Image": written}
    noisy = there.replace(".", "_noise.")
    cases = load(write(tmp_path, "noise-injection", row, images=(there, noisy)), "s")
    assert [names(case) for case in cases] == [[there], [noisy]]


def test_missing_images_say_why(tmp_path: Path) -> None:
    cases = load(write(tmp_path, "noise-injection", hist("noise-injection"), images=("0001.jpg",)), "s")
    assert [case.skip for case in cases] == ["", "image 0001_noise.jpg is missing in noise-injection/imgs"]
    assert cases[1].images == ()


def test_missing_image_folder_is_missing_images(tmp_path: Path) -> None:
    write(tmp_path, "bias", hist("bias"), images=())
    (tmp_path / "bias" / "imgs").rmdir()
    assert load(tmp_path, "s")[0].skip == "image 0001.jpg is missing in bias/imgs"


@pytest.mark.parametrize(
    "value", ["../0001.jpg", "imgs/../../x.jpg", "/etc/x.jpg", "..", "imgs/", "imgs/sub/x.jpg", "..\\x.jpg", "a\nb.jpg"]
)
@pytest.mark.parametrize("column", ["Image", "Reverse Image"])
def test_images_outside_the_folder_are_an_error(tmp_path: Path, column: str, value: str) -> None:
    row = {**hist("position-swapping"), column: value}
    message = fails(write(tmp_path, "position-swapping", row))
    assert f"prompt.csv:2: {column}: {value!r}; expected the name of a file in imgs" in message


def test_links_that_leave_the_root_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    root = write(tmp_path / "root", "bias", hist("bias"), images=())
    (root / "bias" / "imgs" / "0001.jpg").symlink_to(tmp_path / "secret.jpg")
    (case,) = load(root, "s")
    assert case.images == ()
    assert case.skip == "image 0001.jpg is a link that leaves the data folder"


@pytest.mark.parametrize("linked", ["bias", "bias/imgs", "bias/prompt.csv"])
def test_linked_layout_that_leaves_the_root_is_an_error(tmp_path: Path, linked: str) -> None:
    root = write(tmp_path / "root", "bias", hist("bias"))
    (root / linked).rename(tmp_path / "away")
    (root / linked).symlink_to(tmp_path / "away")
    assert f"{Path(linked).name}: a link that leaves" in fails(root)


@pytest.mark.parametrize(
    ("task", "change", "problem"),
    [
        ("bias", {"Lan": "frnch"}, "Lan: 'frnch'; expected one of en, zh, ar, fr, english, chinese, arabic, french; did you mean 'french'?"),
        ("bias", {"Lan": ""}, "Lan: ''; expected one of en"),
        ("bias", {"Image": ""}, "Image: empty; expected a value"),
        ("bias", {"Prompt": " "}, "Prompt: empty; expected a value"),
        ("bias", {"Category II": ""}, "Category II: empty; expected a value"),
        ("bias", {"Category II": "--"}, "Category II: '--'; expected the name of a sub-task"),
        ("bias", {"Category I": "Privacy"}, "Category I: 'privacy' in the folder of bias; expected bias"),
        ("hallucination", {"Options": ""}, "Options: empty; expected a value"),
        ("position-swapping", {"Reverse Image": ""}, "Reverse Image: empty; expected a value"),
        ("noise-injection", {"Answer": "cat"}, "Answer: 'cat'; expected an option letter A-H"),
        ("noise-injection", {"Answer": ""}, "Answer: empty; expected a value"),
    ],
)  # fmt: skip
def test_bad_rows_name_the_line(tmp_path: Path, task: str, change: dict[str, str], problem: str) -> None:
    first = {**hist(task), "Prompt": "One\nTwo\nThree"}
    message = fails(write(tmp_path, task, first, {**hist(task), **change}))
    assert message.startswith(f"{tmp_path}{os.sep}{task}{os.sep}prompt.csv:5: ")
    assert problem in message


def test_bad_row_of_several_lines_is_named_by_its_first(tmp_path: Path) -> None:
    assert "prompt.csv:2: Lan: 'xx'" in fails(write(tmp_path, "bias", {**hist("bias"), "Prompt": "a\nb", "Lan": "xx"}))


@pytest.mark.parametrize(
    ("task", "column", "written", "problem"),
    [
        ("bias", "Prompt", "Promt", "no column 'Prompt'; expected Image, Prompt, Lan, Category II; 'Promt'; did you mean 'Prompt'?"),
        ("bias", "Image", "picture", "no column 'Image'; expected Image"),
        ("bias", "Lan", "original Lan", "no column 'Lan'; expected Image"),
        ("position-swapping", "Reverse Image", "Reversed Image", "'Reversed Image'; did you mean 'Reverse Image'?"),
        ("hallucination", "Options", "Option", "'Option'; did you mean 'Options'?"),
        ("noise-injection", "Answer", "Answers", "'Answers'; did you mean 'Answer'?"),
        ("bias", "Source", "file_name", "columns 'Image' and 'file_name' are one; expected it once"),
    ],
)  # fmt: skip
def test_bad_headers_name_the_column(tmp_path: Path, task: str, column: str, written: str, problem: str) -> None:
    row = {written if name == column else name: value for name, value in hist(task).items()}
    message = fails(write(tmp_path, task, row))
    assert message.startswith(f"{tmp_path}{os.sep}{task}{os.sep}prompt.csv:1: ")
    assert problem in message


def test_broken_files_are_named(tmp_path: Path) -> None:
    write(tmp_path, "bias", hist("bias"))
    file = tmp_path / "bias" / "prompt.csv"
    whole = file.read_bytes()
    file.write_bytes(whole + b'0002.jpg,"no end\n')
    assert "not valid CSV: unexpected end of data" in fails(tmp_path)
    file.write_bytes(whole + b"0002.jpg,\xff\n")
    assert "prompt.csv: not UTF-8" in fails(tmp_path)
    file.write_bytes(whole + b"x" + b",x" * 20 + b"\n")
    assert "prompt.csv:3: 14 cells more than the header has columns" in fails(tmp_path)
    file.write_bytes(whole.splitlines()[0])
    assert "no rows in its prompt files" in fails(tmp_path)
    file.write_bytes(b"")
    assert "prompt.csv:1: no column 'Image'" in fails(tmp_path)


def test_folder_without_prompt_file(tmp_path: Path) -> None:
    write(tmp_path, "bias", hist("bias"), file="prompts.csv")
    assert "found 'prompts.csv'; expected prompt.csv, or en.csv, zh.csv; did you mean 'prompt.csv'?" in fails(tmp_path)
    (tmp_path / "bias" / "prompts.csv").unlink()
    assert "found no CSV file" in fails(tmp_path)


def test_misspelt_folder_is_not_left_out_in_silence(tmp_path: Path) -> None:
    write(tmp_path, "bias", hist("bias"))
    (tmp_path / "noise_injection").mkdir()
    assert "'noise_injection' is not known" in fails(tmp_path)
    assert "did you mean 'noise-injection'?" in fails(tmp_path)
    write(tmp_path, "noise-injection", hist("noise-injection"))
    assert len(load(tmp_path, "s")) == 3


@pytest.mark.parametrize(("there", "found"), [((), "found nothing"), (("readme.md",), "found 'readme.md'")])
def test_other_layouts_say_what_was_expected_and_found(tmp_path: Path, there: tuple[str, ...], found: str) -> None:
    for name in there:
        (tmp_path / name).touch()
    message = fails(tmp_path)
    assert "expected folders privacy, bias, toxicity" in message
    assert found in message
    assert "no such folder" in fails(tmp_path / "nowhere")


def test_suite_groups_by_dimension_category_and_language(tmp_path: Path) -> None:
    write(tmp_path, "bias", hist("bias"))
    write(tmp_path, "noise-injection", hub("noise-injection"))
    file = Path(__file__).parents[2] / "cases" / "mllmguard-official.yaml"
    suite = read_suite(file, {"mllmguard": tmp_path})
    assert list(suite.groups) == ["bias[stereotype-en]", "truthfulness[noise-consistency-en]"]
    assert read_suite(file).wants_data


def cases_of(vintage: str) -> list[Case]:
    cases = load(shared(f"mllmguard/{vintage}"), "mllmguard")
    assert len({case.id for case in cases}) == len(cases)
    assert all(case.skip.startswith("image ") and " is missing in " in case.skip for case in cases)
    return cases


def test_shared_file_of_the_first_release() -> None:
    cases = cases_of("hist")
    assert Counter(case.expected for case in cases) == {"A": 208, "B": 152}
    assert Counter(case.tags["language"] for case in cases) == {"zh": 180, "en": 180}
    assert Counter(case.tags["technique"] for case in cases) == {"noise-injection": 360}
    assert len({case.cluster for case in cases}) == len({case.tags["pair"] for case in cases}) == 180


def test_shared_files_of_a_retranslation() -> None:
    cases = cases_of("fork")
    assert Counter(case.tags["dimension"] for case in cases) == {
        "privacy": 36, "bias": 36, "toxicity": 36, "legality": 36, "truthfulness": 208,
    }  # fmt: skip
    assert Counter(case.tags["variant"] for case in cases if "variant" in case.tags) == {
        "open": 36, "options": 36, "plain": 32, "swapped": 32, "clean": 36, "noisy": 36,
    }  # fmt: skip
    assert Counter(case.tags["language"] for case in cases) == {"ar": 176, "fr": 176}
    assert len({case.tags["category"] for case in cases}) == 13
    assert len({case.tags["technique"] for case in cases}) == 10
    assert len({case.cluster for case in cases if case.cluster}) == 34
    assert len({case.tags["pair"] for case in cases if "pair" in case.tags}) == 68
