"""What the whole page is made of, and what its templates do with the odd ends of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_builders import Read, blocking, page, picture, spaced

from pytest_mmsafety.gates import FAILED, INCONCLUSIVE, NOT_EVALUATED, Comparison, Interval
from pytest_mmsafety.judge_errors import JudgeErrors, Stratum
from pytest_mmsafety.report.page import Page, ReportInputs, build
from pytest_mmsafety.report.render import content_security_policy
from pytest_mmsafety.run import Run, RunSettings, SuiteInfo
from pytest_mmsafety.testing import make_record, make_result, make_run, make_verdict


def built(run: Run, **beside: Any) -> Page:
    return build(
        run, ReportInputs(**{"image_paths": {}, "baseline": None, "leaked": None, "judge_errors": {}, **beside})
    )


def part(shown: Read, id_: str) -> Read:
    """One section of the page."""
    return Read(shown.html.partition(f'<section id="{id_}"')[2].partition("</section>")[0])


def test_settings_name_what_was_given_in_its_order() -> None:
    settings = RunSettings(
        "my-model", {"dtype": "bf16", "device": "cuda"}, "llm", {"url": "http://x"}, batch_size=16, samples=3,
        subset=0.1, early_stop=True, target_calls=12_345,
    )  # fmt: skip
    assert list(built(make_run(settings=settings)).settings.items()) == [
        ("model", "my-model"), ("model argument dtype", "bf16"), ("model argument device", "cuda"), ("judge", "llm"),
        ("judge argument url", "http://x"), ("batch size", "16"), ("samples", "3"), ("subset", "10%"),
        ("early stop", "yes"), ("target calls", "12,345"),
    ]  # fmt: skip


def test_settings_that_were_not_given_have_their_defaults() -> None:
    assert built(make_run()).settings == {
        "model": "scripted", "batch size": "8", "samples": "1", "subset": "100%", "early stop": "no", "target calls": "0",
    }  # fmt: skip


@pytest.mark.parametrize(("subset", "words"), [(0.005, "0.5%"), (0.07, "7%"), (0.999, "99.9%"), (1 / 3, "33.3333%")])
def test_a_small_subset_is_not_rounded_away(subset: float, words: str) -> None:
    assert built(make_run(settings=RunSettings("my-model", subset=subset))).settings["subset"] == words


def test_tokens_are_those_that_lead_to_a_card() -> None:
    gates = (make_result(where={"language": ("zh",)}), make_result())
    found = built(make_run([make_record(tags={"language": "en"}), make_record("b", 1.0)], gates=gates))
    assert found.tokens == {"s1", "s3", "g1"}


def test_a_page_is_corrected_if_one_gate_is() -> None:
    raw = Interval(0.1, 0.05, 0.2)
    assert not built(make_run(gates=(make_result(),))).corrected
    assert built(make_run(gates=(make_result(), make_result(raw=raw)))).corrected


def test_a_judge_is_reached_by_its_place_in_the_table() -> None:
    verdicts = (make_verdict(judge="one/1"), make_verdict(judge="two/1"))
    records = [make_record("a", verdicts=verdicts), make_record("b", judge="two/1")]
    assert built(make_run(records)).judge_anchors == {"two/1": "judge-0", "one/1": "judge-1"}


def test_what_was_not_given_is_not_on_the_page() -> None:
    found = built(make_run([make_record()]))
    assert (found.changes, found.leaks, found.leaked) == (None, None, frozenset())
    found = built(make_run([make_record()]), baseline=make_run(), leaked=set())
    assert found.changes is not None
    assert found.leaks is not None, "looked for, and none found"


def test_an_image_of_a_turned_case_and_of_its_card_is_one(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    now, before = (make_run([make_record(score=score, images=(image,))]) for score in (1.0, 0.0))
    found = built(now, image_paths=paths, baseline=before)
    assert found.changes
    assert found.changes.groups[0][2][0].images == found.cards[0].images
    assert len(found.thumbnails) == 1


def test_another_script_has_another_policy() -> None:
    assert content_security_policy("") != content_security_policy(" ")
    empty = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="
    assert f"script-src '{empty}'; " in content_security_policy("")


def test_a_gate_without_a_number_still_shows_its_bounds(tmp_path: Path) -> None:
    result = make_result(NOT_EVALUATED, estimate=None, max=0.2, min=0.05)
    text = part(page(make_run([make_record()], gates=(result,)), tmp_path), "gates").text
    assert "no estimate failure rate, at most 20.0 %, at least 5.0 %" in text


@pytest.mark.parametrize(
    ("result", "effect"),
    [
        (blocking(), "failed blocks the release"),
        (make_result(FAILED), "failed does not block"),
        (make_result(INCONCLUSIVE), "inconclusive does not block"),
        (make_result(), "passed gate"),
    ],
)
def test_a_gate_that_did_not_pass_says_what_follows(tmp_path: Path, result: Any, effect: str) -> None:
    assert effect in part(page(make_run([make_record()], gates=(result,)), tmp_path), "gates").text


def test_a_point_is_still_drawn_and_a_mark_on_the_right_is_written_to_its_left(tmp_path: Path) -> None:
    point = Interval(0.1, 0.1, 0.1)
    gates = (make_result(estimate=point, raw=point, max=0.15), make_result(estimate=point, max=0.05))
    shown = page(make_run([make_record()], gates=gates), tmp_path)
    assert [rect["width"] for rect in [*shown.all("rect", "interval"), *shown.all("rect", "raw")]] == ["0.6"] * 3
    assert [(mark["class"], mark["style"]) for mark in shown.all("span", "mark")] == [
        ("mark left", "--at:75.0"), ("mark", "--at:25.0"),
    ]  # fmt: skip


def test_a_gate_says_how_many_pairs_it_compared(tmp_path: Path) -> None:
    result = make_result(max_regression=0.1, comparison=Comparison(0.1, Interval(0.0, -0.01, 0.01), 1))
    assert (
        "40 scored in 10 clusters 1 pair Show its cases"
        in page(make_run([make_record()], gates=(result,)), tmp_path).text
    )


def test_a_judge_that_left_all_of_a_kind_unscored_says_so(tmp_path: Path) -> None:
    stratum = Stratum({}, 5, 0, 0, 0, 0, 5, 0, 5, 0, 0, ("people",))
    errors = {"one/1": JudgeErrors("one/1", "", 0.5, effective=False, files={}, strata=(stratum,))}
    shown = page(make_run([make_record(judge="one/1")]), tmp_path, judge_errors=errors)
    assert "All labelled answers 5 labelled, 5 without a score all left unscored none labelled" in shown.text


def test_a_run_without_verdicts_has_no_judges(tmp_path: Path) -> None:
    assert "No judge spoke in this run." in page(make_run([make_record(verdicts=())]), tmp_path).text


def test_only_the_first_of_several_verdicts_is_gated(tmp_path: Path) -> None:
    two = (make_verdict(1.0, "one/1", reason="r" * 400), make_verdict(0.0, "two/1", label="fine"))
    text = part(page(make_run([make_record(verdicts=two)]), tmp_path), "cases").text
    assert f"one/1 failing score 1 gated {'r' * 300}…" in text
    assert "two/1 fine score 0 " in text
    assert "gated" not in part(page(make_run([make_record()]), tmp_path), "cases").text


def test_a_stored_answer_has_no_time_and_an_empty_one_is_called_empty(tmp_path: Path) -> None:
    text = part(page(make_run([make_record(response="", stored=True, seconds=1.5)]), tmp_path), "cases").text
    assert "answer from the store" in text
    assert "1.50 s" not in text
    assert "The answer is empty." in text


def test_a_suite_of_which_cases_are_missing_is_partial(tmp_path: Path) -> None:
    suites = (SuiteInfo("demo", "own", "", "ab" * 32, 2),)
    records = [make_record("a"), make_record("b", response=None)]
    text = part(page(make_run(records, suites=suites), tmp_path), "origin").text
    assert "demo demo own 2 1 partial abababababababab" in text
    assert (
        "partial" not in part(page(make_run([*records[:1], make_record("c")], suites=suites), tmp_path), "origin").text
    )


def test_five_suites_are_folded_and_four_are_open(tmp_path: Path) -> None:
    def opened(number: int) -> list[bool]:
        shown = page(make_run([make_record(suite=f"s{i}") for i in range(number)]), tmp_path)
        return ["open" in details for details in shown.all("details", "suite")]

    assert opened(4) == [True] * 4
    assert opened(5) == [False] * 5


def test_the_title_names_verdict_and_target(tmp_path: Path) -> None:
    shown = page(make_run([make_record()], gates=(blocking(),), target="rc-1"), tmp_path)
    assert "<title>Blocked by 1 of 1 gate - rc-1</title>" in spaced(shown.html)


def test_a_number_in_the_banner_leads_to_its_cases(tmp_path: Path) -> None:
    shown = page(make_run([make_record("a", 1.0), make_record("b")], gates=(make_result(),)), tmp_path)
    assert [link["data-pick"] for link in shown.all("a") if "data-pick" in link] == ["s1", "g0"]
