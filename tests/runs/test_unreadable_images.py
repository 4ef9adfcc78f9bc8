"""Images that cannot be read cost their case, and no other."""

from __future__ import annotations

import pytest
from PIL import Image
from project import BOTH_WAYS, Project, plain, row

ACCURACY = {"name": "accuracy", "metric": "accuracy", "min": 0.5}


@BOTH_WAYS
def test_a_bad_image_is_an_error_of_its_item_and_the_others_are_answered(
    project: Project, workers: tuple[str, ...]
) -> None:
    folder = project.path / "cases" / "图"
    folder.mkdir(parents=True)
    Image.effect_noise((80, 80), 50).save(folder / "好.png")
    whole = (folder / "好.png").read_bytes()
    (folder / "半.png").write_bytes(whole[:1500])
    Image.new("1", (9000, 9000)).save(folder / "大.png")
    images = ["图/好.png", "图/半.png", "图/大.png"]
    project.suite([row(i, category=f"g{i}", images=[image]) for i, image in enumerate(images)])
    result = project.run(project.thresholds(ACCURACY), *workers)
    plain(result)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.assert_outcomes(passed=1, errors=2, skipped=1)
    result.stdout.fnmatch_lines_random(
        [
            "1 of 1 case without an answer: *半.png: damaged image: * (case-1)",
            "1 of 1 case without an answer: *大.png: image of 9000 x 9000 pixels, at most 64,000,000 * (case-2)",
            "not evaluated *1 of 3 cases answered (2 in error)*",
        ]
    )


def test_an_image_that_goes_away_is_an_error(project: Project) -> None:
    (project.path / "cases").mkdir()
    image = project.path / "cases" / "a.png"
    Image.new("RGB", (4, 4)).save(image)
    project.suite([row(1, images=["a.png"]), row(2)])
    (project.path / "conftest.py").write_text(
        f"import os\ndef pytest_collection_finish(): os.unlink({str(image)!r}) if os.path.exists({str(image)!r}) else None\n"
    )
    result = project.run()
    plain(result)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["1 of 2 cases without an answer: *a.png: image cannot be read: No such file or directory (case-1)"]
    )
