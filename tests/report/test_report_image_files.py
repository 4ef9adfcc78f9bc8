"""Where the pictures of a saved run are looked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from report_builders import picture, reference

from pytest_mmsafety.cli.main import main
from pytest_mmsafety.files import shipped
from pytest_mmsafety.report.image_files import find_images
from pytest_mmsafety.run import ImageRef, save_run
from pytest_mmsafety.testing import make_record, make_run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "here" / "cases").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.mark.parametrize("folder", ["here", "here/cases", "named"])
def test_a_picture_is_found_by_name_and_content(here: Path, tmp_path: Path, folder: str) -> None:
    (tmp_path / "named").mkdir()
    image, paths = picture(tmp_path / folder / "a.png")
    for other in {"here", "here/cases", "named"} - {folder}:
        picture(tmp_path / other / "a.png", color="blue")
    found = find_images([image, image], tmp_path / "named")
    assert found.paths == paths
    assert not found.trouble


@pytest.mark.usefixtures("here")
def test_a_picture_of_a_shipped_suite_is_found_anywhere() -> None:
    name = "images/cliff-viewpoint.png"
    image, paths = reference(shipped("cases") / name)
    assert find_images([replace(image, name=name)], None).paths == paths
    assert not find_images([image], None).paths, "by name, the folder below the suite included"


def test_what_is_not_found_is_counted_once(here: Path) -> None:
    there, paths = picture(here / "a.png")
    changed, unread = ImageRef("a.png", "11"), ImageRef("b.png", "")
    found = find_images([there, changed, changed, unread], None)
    assert found.paths == paths
    assert found.trouble == "1 of 2 pictures was not found; name their folder with --images"
    lost = [ImageRef("a.png", f"{i:x}") for i in range(2000)]
    assert find_images(lost, here).trouble == f"2,000 of 2,000 pictures were not found in {here}"


def test_no_name_leads_out_of_the_folder(here: Path, tmp_path: Path) -> None:
    image, _ = picture(tmp_path / "secret.png")
    (here / "link.png").symlink_to(tmp_path / "secret.png")
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "cases/../../secret.png"):
        assert not find_images([ImageRef(name, image.sha256)], None).paths


@given(st.text())
@example("\0")
@example("x" * 5000)
@example("")
def test_any_name_is_looked_for(name: str) -> None:
    assert not find_images([ImageRef(name, "00")], None).paths


def test_a_report_says_how_many_pictures_it_lacks(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image, _ = picture(here / "cases" / "a.png")
    save_run(
        make_run([make_record("a", images=(image,)), make_record("b", images=(ImageRef("b.png", "11" * 32),))]),
        here / "run.json",
    )
    assert main(["report", "run.json"]) == 0
    assert capsys.readouterr().err == "mmsafety: 1 of 2 pictures was not found; name their folder with --images\n"
    assert Path("run.html").read_text(encoding="utf-8").count("data:image/webp;base64") == 1
