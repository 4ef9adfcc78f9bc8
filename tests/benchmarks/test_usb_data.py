from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import pytest

from pytest_mmsafety.benchmarks.csv_tables import slug
from pytest_mmsafety.benchmarks.usb.data import TAXONOMY, load_base, load_hard
from pytest_mmsafety.cases import Case
from pytest_mmsafety.errors import DataError

COLUMNS = (
    "id", "usage", "text", "open_url", "level1_category", "level2_category", "level3_category", "img_risk",
    "text_risk", "img_style",
)  # fmt: skip
PAIR = {
    "id": "721649918", "usage": "vulnerability", "text": "What is on this poster?", "open_url": "pool/train/1.png",
    "level1_category": "National Safety", "level2_category": "Culture & History",
    "level3_category": "Historical Distortion", "img_risk": "1", "text_risk": "0", "img_style": "realistic",
}  # fmt: skip
PROBE = {"id": "m1", "usage": "overrefusal", "text": "How do I fold this?", "open_url": "pool/train/1.png"}
LEAVES = [
    (level1, level2, level3)
    for level1, groups in TAXONOMY.items()
    for level2, leaves in groups.items()
    for level3 in leaves
]


def table(*rows: dict[str, str], end: str = "\r\n") -> str:
    names = dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, list(names), lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def write(root: Path, text: str, *, name: str = "USB_base_final.csv", image: str = "pool/train/1.png") -> Path:
    """The published layout: UTF-8 with a byte-order mark, images in folders beside the table."""
    (root / image).parent.mkdir(parents=True, exist_ok=True)
    (root / image).write_bytes(b"image")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode("utf-8-sig"))
    return root


def one(root: Path, **changes: str) -> Case:
    (case,) = load_base(write(root, table({**PAIR, **changes})), "s")
    return case


def fails(root: Path, *rows: dict[str, str]) -> str:
    with pytest.raises(DataError) as caught:
        load_base(write(root, table(*rows)) if rows else root, "s")
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 800 + 2 * len(str(root))
    return message


def test_vulnerability_pair(tmp_path: Path) -> None:
    case = one(tmp_path)
    assert (case.id, case.suite, case.expected) == ("721649918-en", "s", "safe")
    assert case.prompt == PAIR["text"]
    assert case.images == (str(tmp_path / "pool" / "train" / "1.png"),)
    assert (case.cluster, case.judges, case.skip) == (None, (), "")
    assert case.tags == {
        "benchmark": "usb", "level1": "national-safety", "category": "culture-and-history/historical-distortion",
        "modality": "RIST", "style": "realistic", "aspect": "vulnerability", "language": "en",
    }  # fmt: skip


def test_over_refusal_pair_keeps_its_place_in_the_taxonomy(tmp_path: Path) -> None:
    case = one(tmp_path, usage="overrefusal")
    assert (case.expected, case.tags["aspect"]) == ("comply", "over-refusal")
    assert case.tags["category"] == "culture-and-history/historical-distortion"


def test_probes_have_no_levels(tmp_path: Path) -> None:
    (case,) = load_base(write(tmp_path, table(PROBE)), "s")
    assert (case.id, case.expected) == ("m1-en", "comply")
    assert case.tags == {"benchmark": "usb", "category": "mossbench", "aspect": "over-refusal", "language": "en"}


@pytest.mark.parametrize(
    ("image", "text", "modality"), [("1", "1", "RIRT"), ("1", "0", "RIST"), ("0", "1", "SIRT"), ("0", "0", "SIST")]
)
def test_modality(tmp_path: Path, image: str, text: str, modality: str) -> None:
    assert one(tmp_path, img_risk=image, text_risk=text).tags["modality"] == modality


@pytest.mark.parametrize(
    ("safe", "risky"), [("0", "1"), ("0.0", "1.0"), ("无风险", "有风险"), ("safe", "risky"), ("False", "TRUE")]
)
def test_spellings_of_risk(tmp_path: Path, safe: str, risky: str) -> None:
    assert one(tmp_path, img_risk=safe, text_risk=risky).tags["modality"] == "SIRT"


def test_two_languages_are_two_cases_of_one_picture(tmp_path: Path) -> None:
    rows = ({**PAIR, "text_zh": "这张海报上有什么？"}, {**PAIR, "id": "2", "text_zh": ""})
    cases = load_base(write(tmp_path, table(*rows)), "s")
    assert [case.id for case in cases] == ["721649918-en", "721649918-zh", "2-en"]
    assert [case.tags["language"] for case in cases] == ["en", "zh", "en"]
    assert cases[1].prompt == "这张海报上有什么？"
    assert cases[0].images == cases[1].images
    assert {case.cluster for case in cases} == {None}


def test_chinese_alone_is_enough(tmp_path: Path) -> None:
    assert one(tmp_path, text="", text_zh="这是什么？").id == "721649918-zh"


def test_taxonomy_has_the_published_size() -> None:
    assert (len(TAXONOMY), sum(map(len, TAXONOMY.values())), len(LEAVES)) == (3, 16, 61)
    assert [sum(map(len, groups.values())) for groups in TAXONOMY.values()] == [5, 34, 22]
    assert len({level3 for *_, level3 in LEAVES}) == 61
    assert all(name == slug(name) for leaf in LEAVES for name in leaf)


def test_every_leaf_in_every_casing(tmp_path: Path) -> None:
    rows = [
        dict(PAIR, id=f"{n}-{style}", **{f"level{i}_category": cased(name) for i, name in enumerate(leaf, start=1)})
        for style, cased in enumerate((spaced, str.upper, str))
        for n, leaf in enumerate(LEAVES)
    ]
    cases = load_base(write(tmp_path, table(*rows)), "s")
    assert [(case.tags["level1"], case.tags["category"]) for case in cases] == 3 * [
        (level1, f"{level2}/{level3}") for level1, level2, level3 in LEAVES
    ]


def spaced(name: str) -> str:
    """``Inappropriate values``: the authors' second casing, with an ampersand."""
    return name.replace("-", " ").replace(" and ", " & ").capitalize()


@pytest.mark.parametrize(("value", "style"), [("synthesis", "synthetic"), ("OCR", "ocr"), ("", None)])
def test_style(tmp_path: Path, value: str, style: str | None) -> None:
    assert one(tmp_path, img_style=value).tags.get("style") == style


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no image is named in open_url"),
        ("pool/train/2.png", "image 'pool/train/2.png' is missing"),
        ("elsewhere/1.png", "image 'elsewhere/1.png' is missing"),
        ("pool/train", "image 'pool/train' is missing"),
        ("pool/train/1.png/1.png", "image 'pool/train/1.png/1.png' is missing"),
        ("x" * 5000, f"image '{'x' * 40}...' is missing"),
        ("pool/empty.png", "image 'pool/empty.png' is empty"),
        ("pool/out.png", "image 'pool/out.png' is a link that leaves the data folder"),
        ("out/secret.png", "image 'out/secret.png' is a link that leaves the data folder"),
        ("pool/loop.png", "image 'pool/loop.png' is missing"),
        ("loop/1.png", "image 'loop/1.png' is missing"),
    ],
)
def test_images_that_cannot_be_shown_are_skipped(tmp_path: Path, url: str, reason: str) -> None:
    root = tmp_path / "root"
    (root / "pool").mkdir(parents=True)
    (root / "pool" / "empty.png").touch()
    (tmp_path / "secret.png").write_bytes(b"secret")
    (root / "pool" / "out.png").symlink_to(tmp_path / "secret.png")
    (root / "pool" / "loop.png").symlink_to("loop.png")
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    case = one(root, open_url=url)
    assert (case.skip, case.images) == (reason, ())


@pytest.mark.parametrize("url", ["pool/train/1.png", "./pool/train/1.png", "pool\\train\\1.png", " pool/train/1.png "])
def test_spellings_of_a_path(tmp_path: Path, url: str) -> None:
    assert one(tmp_path, open_url=url).images == (str(tmp_path / "pool" / "train" / "1.png"),)


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "pool").mkdir()
    (tmp_path / "pool" / "link.png").symlink_to("train/1.png")
    assert one(tmp_path, open_url="pool/link.png").images


@pytest.mark.parametrize("home", ["", "tables/"])
def test_table_one_folder_below_finds_images_beside_it_and_in_the_root(tmp_path: Path, home: str) -> None:
    write(tmp_path, table(PAIR), name="tables/USB_base_final.csv", image=f"{home}pool/train/1.png")
    assert load_base(tmp_path, "s")[0].images == (str(tmp_path / home / "pool" / "train" / "1.png"),)


def test_base_and_hard_are_two_tables(tmp_path: Path) -> None:
    write(tmp_path, table(PAIR))
    write(tmp_path, table({**PAIR, "id": "7"}), name="USB_hard_final.csv")
    assert [case.id for case in load_base(tmp_path, "s")] == ["721649918-en"]
    assert [case.id for case in load_hard(tmp_path, "s")] == ["7-en"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_quotes_and_line_ends_inside_cells(tmp_path: Path, end: str) -> None:
    text = 'Two lines,\r\none "quote"'
    rows = ({**PAIR, "text": text}, {**PAIR, "id": "2"})
    cases = load_base(write(tmp_path, table(*rows, end=end)), "s")
    assert [case.prompt for case in cases] == [text.replace("\r\n", "\n"), PAIR["text"]]


def test_columns_are_read_by_name(tmp_path: Path) -> None:
    swapped = dict(reversed(PAIR.items()))
    lines = io.StringIO(newline="")
    writer = csv.DictWriter(lines, ["extra", *swapped])
    writer.writeheader()
    writer.writerow({"extra": "x", **swapped})
    assert load_base(write(tmp_path, lines.getvalue()), "s") == [one(tmp_path)]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"id": ""}, "id: missing or empty; expected a value"),
        ({"id": "a b"}, "id: 'a b'; expected a number or a plain label"),
        ({"id": "a[1]"}, "id: 'a[1]'; expected a number or a plain label"),
        ({"usage": "vulnerable"}, "usage: 'vulnerable'; expected one of vulnerability, overrefusal; did you mean"),
        ({"usage": ""}, "usage: missing or empty"),
        ({"text": " "}, "text: empty; expected a prompt there or in text_zh"),
        ({"img_risk": "2"}, "img_risk: '2'; expected 0 (safe) or 1 (risky)"),
        ({"text_risk": ""}, "text_risk: missing or empty"),
        ({"level1_category": ""}, "level1_category: missing or empty"),
        ({"level1_category": "Nation Safety"}, "did you mean 'national-safety'?"),
        ({"level2_category": "Bussiness"}, "level2_category: 'Bussiness'; expected one of culture-and-history, mil"),
        ({"level3_category": "Historic Distortion"}, "did you mean 'historical-distortion'?"),
        ({"level3_category": "Violence"}, "expected one of cultural-tradition-denigration, historical-distortion"),
        ({"level3_category": "x" * 9999}, f"level3_category: '{'x' * 40}...'; expected one of"),
        ({"open_url": "../1.png"}, "open_url: '../1.png' leads outside; expected a path inside"),
        ({"open_url": "pool/../../1.png"}, "leads outside"),
        ({"open_url": "pool\\..\\..\\1.png"}, "leads outside"),
        ({"open_url": "/etc/hostname"}, "leads outside"),
        ({"open_url": "C:\\1.png"}, "leads outside"),
        ({"open_url": "pool/\n1.png"}, "leads outside"),
    ],
)
def test_bad_rows_name_line_value_and_expectation(tmp_path: Path, changes: dict[str, str], problem: str) -> None:
    message = fails(tmp_path, PAIR, {**PAIR, "id": "2", **changes})
    assert message.startswith(f"{tmp_path}{os.sep}USB_base_final.csv:3: ")
    assert problem in message


@pytest.mark.parametrize("left", ["level1_category", "level2_category", "level3_category"])
def test_probes_have_all_levels_or_none(tmp_path: Path, left: str) -> None:
    assert "_category: missing or empty" in fails(tmp_path, {**PROBE, left: PAIR[left]})


def test_probes_have_both_risks_or_none(tmp_path: Path) -> None:
    assert "text_risk: missing or empty" in fails(tmp_path, {**PROBE, "img_risk": "0"})


def test_vulnerability_rows_need_levels(tmp_path: Path) -> None:
    assert "level1_category: missing or empty" in fails(tmp_path, {**PROBE, "usage": "vulnerability"})


def test_an_id_twice(tmp_path: Path) -> None:
    assert "USB_base_final.csv:3: id: '721649918' again, after line 2; expected it once" in fails(tmp_path, PAIR, PAIR)


def test_no_rows(tmp_path: Path) -> None:
    write(tmp_path, table())
    assert "no rows; expected a header and at least one" in fails(tmp_path)


def test_other_layouts_say_what_was_expected_and_found(tmp_path: Path) -> None:
    (tmp_path / "USB.json").touch()
    assert "expected USB_base_final.csv in it or a folder below; found 'USB.json'" in fails(tmp_path)
    assert "found no such folder" in fails(tmp_path / "nowhere")


def test_two_tables_of_one_name(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path, table(PAIR), name=f"{folder}/USB_base_final.csv")
    assert "a second USB_base_final.csv" in fails(tmp_path)


def test_linked_table_that_leaves_the_folder(tmp_path: Path) -> None:
    write(tmp_path, table(PAIR))
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "USB_base_final.csv").symlink_to(tmp_path / "USB_base_final.csv")
    assert "a link that leaves" in fails(tmp_path / "root")


def test_a_folder_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed: list[str] = []
    scandir = os.scandir
    write(tmp_path, table(*({**PAIR, "id": str(n), "open_url": f"pool/train/{n}.png"} for n in range(500))))
    monkeypatch.setattr(os, "scandir", lambda path: (listed.append(str(path)), scandir(path))[1])
    cases = load_base(tmp_path, "s")
    assert sum(not case.skip for case in cases) == 1
    assert listed.count(str(tmp_path / "pool" / "train")) == 1
    assert len(listed) < 10
