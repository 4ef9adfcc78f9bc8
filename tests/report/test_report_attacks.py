"""What the page says of an attack, and that it leaves the numbers of the suites alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chromium import browse
from PIL import Image
from report_builders import Read, page, picture, spaced
from test_report_page import built, part
from test_report_safety import BREAKOUTS

from pytest_mmsafety.attacks.cases import attacked
from pytest_mmsafety.attacks.settings import Mode, parse_attack
from pytest_mmsafety.benchmarks.saved_runs import saved_run_tables
from pytest_mmsafety.cases import Change
from pytest_mmsafety.files import shipped
from pytest_mmsafety.findings import Finding
from pytest_mmsafety.outcomes import Outcome
from pytest_mmsafety.perturbations import PERTURBATIONS, edit_digest, perturb
from pytest_mmsafety.report.ablation import MAX_SWEPT
from pytest_mmsafety.report.breaks import Breaks
from pytest_mmsafety.report.cards import MAX_ATTACKED, MAX_CARDS, choose_cards
from pytest_mmsafety.report.finding_cards import MAX_FINDINGS
from pytest_mmsafety.report.markdown import markdown_summary
from pytest_mmsafety.report.strength_curves import MAX_MULTIPLES
from pytest_mmsafety.report.technique_tables import FEW, MAX_COLUMNS
from pytest_mmsafety.report.variants import MAX_PROMPT, case_of
from pytest_mmsafety.run import Record, Run, SuiteInfo
from pytest_mmsafety.run import make_record as record_of
from pytest_mmsafety.suites import Suite, read_suite
from pytest_mmsafety.testing import make_finding, make_record, make_result, make_run, make_verdict
from pytest_mmsafety.verdicts import Verdict

HARM = {"aspect": "vulnerability"}


def searched(id_: int | str, label: str = "held", strength: float = 1.0, **changes: Any) -> Record:
    """What a search came to; *label* of the verdict attack/1."""
    score = {"held": 0.0, "unsure": None}.get(label, 1.0)
    verdicts = (
        Verdict("attack/1", label, score),
        Verdict("strength/1", f"{strength:g}", None if score is None else 1 - strength),
    )
    tags = {**changes.pop("tags", HARM), "attack": "search", "original": f"demo/{id_}"}
    return make_record(f"{id_}@search", tags=tags, verdicts=verdicts, **changes)


def swept(id_: int | str, name: str, strength: float, score: float | None, **tags: str) -> Record:
    made = {"perturbation": name, "strength": f"{strength:g}", "technique": f"{name} {strength:g}"}
    tags = {**tags, "attack": "sweep", "plain": str(id_), **made}
    return make_record(f"{id_}@{name}-{strength:g}", score, tags=tags)


def under_universal(id_: int | str, half: str, label: str) -> Record:
    tags = {**HARM, "attack": "universal", "original": f"demo/{id_}", "half": half}
    verdict = Verdict("attack/1", label, float(label != "held"))
    return make_record(f"{id_}@universal", tags=tags, verdicts=(verdict,))


def breaks_of(run: Run, **beside: Any) -> Breaks:
    found = built(run, **beside).breaks
    assert found
    return found


def findings_on(*cases: tuple[str, list[Change]], **changes: Any) -> tuple[Finding, ...]:
    return tuple(make_finding(f"demo/{id_}", list(of_case), **changes) for id_, of_case in cases)


def section(run: Run, folder: Path, **beside: Any) -> Read:
    return part(page(run, folder, **beside), "breaks")


# --- the numbers of the suites


def shipped_run(suite: Suite, only: Suite) -> Run:
    """Every third case fails, and everything that the attack made."""
    records = []
    for i, case in enumerate(suite.cases):
        verdict = make_verdict(float("attack" in case.tags or not i % 3), "guardrank/1")
        digests = tuple(edit_digest(f"{j:x}" * 64, case.edits) for j, _ in enumerate(case.images, 1))
        outcome = Outcome(case.key, "No.", verdicts=(verdict,), image_digests=digests)
        records.append(record_of(case, outcome, suite.root))
    info = SuiteInfo(only.name, only.benchmark, only.title, only.sha256, len(records))
    return make_run(records, suites=(info,))


@pytest.mark.parametrize("mode", ["search", "universal", "sweep"])
@pytest.mark.parametrize("name", ["usb", "mllmguard", "mmsafeaware"])
def test_the_numbers_of_the_suites_are_those_of_a_run_without_an_attack(name: str, mode: Mode) -> None:
    suite = read_suite(shipped("cases") / f"{name}.yaml")
    cases = suite.cases[:12]
    suite = replace(suite, cases=cases, groups={"all": cases})
    settings = parse_attack("100", {"mode": mode, **({"techniques": "tone+leetspeak"} if mode == "sweep" else {})})
    assert settings
    with_attack, without = shipped_run(attacked(suite, settings), suite), shipped_run(suite, suite)
    assert len(with_attack.records) > len(without.records)
    now, then = built(with_attack), built(without)
    for what in ("tally", "suite_tallies", "tables", "grids", "ablations", "benchmarks", "judges", "verdict"):
        assert getattr(now, what) == getattr(then, what), what
    assert now.run.suites == then.run.suites
    assert saved_run_tables(with_attack, "released") == saved_run_tables(without, "released")
    assert (now.breaks is None, then.breaks) == (False, None)


def test_what_an_attack_made_is_no_change_since_the_baseline() -> None:
    now, before = (
        make_run([make_record(), searched(1, label), swept(1, "shout", 1.0, float(label == "held"))])
        for label in ("held", "broken")
    )
    found = built(now, baseline=before).changes
    assert found
    assert (found.whole.pairs, found.worse, found.only_now, found.only_before) == (1, 0, 0, 0)


def test_a_leaked_case_takes_what_an_attack_made_of_it_along() -> None:
    gate = make_result(metric="robust_failure_rate")
    records = [*(make_record(i) for i in range(4)), *(searched(i, "broken" if i else "held") for i in range(4))]
    found = built(make_run(records, gates=(gate,)), leaked={"demo/0"}).leaks
    assert found
    assert (found.found, found.by_suite) == (1, (("demo", 1, 4),))
    assert [(row.without.counts.n, row.without.estimate.value) for row in found.gates if row.without.estimate] == [
        (3, 1.0)
    ]


def test_a_regression_is_a_case_of_its_suite() -> None:
    record = make_record(1, 1.0, tags={"attack": "regression", "original": "demo/0"})
    found = built(make_run([record]))
    assert (found.tally.cases, found.breaks, found.own) == (1, None, "")


# --- cards


def test_cards_of_an_attack_do_not_take_the_room_of_the_suites() -> None:
    own = [make_record(i) for i in range(MAX_CARDS)]
    made = [searched(i, "broken") for i in range(MAX_CARDS)]
    chosen = choose_cards([*own, *made], ())
    assert [bool(record.attacked_by) for record in chosen] == [False] * 350 + [True] * MAX_ATTACKED
    assert choose_cards(own, ()) == own
    assert len(choose_cards([*own[:10], *made], ())) == MAX_CARDS


def test_the_cases_of_a_gate_of_an_attack_are_reached() -> None:
    gates = (make_result(metric="robust_attack_success_rate"), make_result(name="plain", metric="failure_rate"))
    found = built(make_run([make_record(1, tags=HARM), searched(1, "broken")], gates=gates))
    assert {"g0", "g1"} <= found.tokens
    assert [card.facets.split()[-2] if card.record.attacked_by else "" for card in found.cards] == ["", "g0"]


def test_a_number_of_the_banner_leads_to_cases_of_suites_alone(tmp_path: Path) -> None:
    run = make_run([make_record("a", 1.0), make_record("b"), searched("a", "broken"), searched("b", "broken")])
    path = tmp_path / "report.html"
    html = page(run, tmp_path).html
    driver = """<script>document.querySelector("dd [data-pick]").click();
    document.title = [...document.querySelectorAll("#cases .card:not([hidden])")].length;</script>"""
    path.write_text(re.sub("<meta http-equiv[^>]*>", "", html).replace("</body>", driver + "</body>"), encoding="utf-8")
    assert "<title>1</title>" in browse(path, tmp_path / "profile")


def test_a_card_says_what_its_answer_is_to_and_leads_to_what_broke_it(tmp_path: Path) -> None:
    records = [make_record(1), searched(1, "broken"), make_record(2), searched(2)]
    shown = page(make_run(records, findings=findings_on(("1", [Change("tone", 1.0)]))), tmp_path)
    links = [link["href"] for link in shown.all("a") if (link.get("href") or "").startswith("#broken-")]
    anchors = [article["id"] for article in shown.all("article", "turn")]
    assert links == [f"#{anchors[0]}", f"#{anchors[0]}"], "the link to itself, and that of the card"
    assert shown.text.count("A search attacked this case.") == 2


def test_a_card_of_a_sweep_shows_the_changed_picture(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    plain = make_record(1, images=(image,))
    edits = perturb(case_of(plain), [Change("image-rotation", 0.5)]).edits
    changed = swept(1, "image-rotation", 0.5, 1.0)
    changed = replace(changed, images=(replace(image, sha256=edit_digest(image.sha256, edits)),))
    found = built(make_run([plain, changed]), image_paths=paths)
    assert [card.images[0].problem for card in found.cards] == ["", ""]
    assert len(found.thumbnails) == 2


# --- findings


def test_a_run_without_an_attack_has_no_such_section(tmp_path: Path) -> None:
    shown = page(make_run([make_record()]), tmp_path)
    assert 'id="breaks"' not in shown.html
    assert 'href="#breaks"' not in shown.html


def test_a_finding_stands_beside_its_case(tmp_path: Path) -> None:
    record = make_record(1, prompt="What is this?", tags=HARM, expected="comply")
    finding = make_finding(
        "demo/1", [Change("tone", 0.5, {"voice": "urgent"})], calls=7, direction="safe-to-unsafe",
        answer_before="Nothing.", answer_after="Something.",
    )  # fmt: skip
    text = section(make_run([record], findings=(finding,)), tmp_path).text
    assert "safe to unsafe found in 7 calls" in text
    assert "tone 0.5 (voice=urgent) adds politeness or urgency" in text
    assert "As it stands What is this? Expected: the model helps" in text
    assert re.search(r"Changed This is urgent, .* What is this\?", text)
    assert "Answer before Nothing. Answer after Something." in text


def test_both_pictures_are_shown(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    record = make_record(1, images=(image,))
    run = make_run([record], findings=findings_on(("1", [Change("image-rotation", 0.5)]), ("1", [Change("tone", 1.0)])))
    found = built(run, image_paths=paths)
    assert found.breaks
    turned, said = found.breaks.cases[0].findings
    ((before, after),) = turned.images
    assert after
    assert (before.problem, after.problem) == ("", "")
    assert (before.index, after.index) == (0, 1)
    assert (turned.same_prompt, said.same_prompt) == (True, False)
    assert said.images == ((before, None),)
    assert "The picture stays as it is." in section(run, tmp_path, image_paths=paths).text


def test_a_picture_that_is_not_here_or_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    every_word = Change("typographic-transfer", 1.0, {"words": tuple(range(0, 900, 2))})
    record = make_record(1, images=(image,), prompt="lanterns are " * 450)
    run = make_run([record], findings=findings_on(("1", [every_word])))
    for known, problem in (
        ({}, "The image is not on the machine that made this page."),
        (paths, "the change draws too many words to be shown here"),
    ):
        ((_, after),) = breaks_of(run, image_paths=known).cases[0].findings[0].images
        assert after
        assert after.problem.endswith(problem)


def test_a_picture_whose_change_fails_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("no font")

    monkeypatch.setattr("pytest_mmsafety.report.thumbnails.edited", fail)
    image, paths = picture(tmp_path / "a.png")
    run = make_run([make_record(1, images=(image,))], findings=findings_on(("1", [Change("image-blur", 1.0)])))
    ((before, after),) = breaks_of(run, image_paths=paths).cases[0].findings[0].images
    assert after
    assert (before.problem, after.problem.endswith("the changed image cannot be made here: AssertionError")) == (
        "", True,
    )  # fmt: skip


def test_an_unknown_perturbation_is_named_and_breaks_nothing(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    record = make_record(1, images=(image,), prompt="As it was asked")
    run = make_run([record], findings=findings_on(("1", [Change("of-tomorrow", 0.5, {"a": 1})])))
    text = section(run, tmp_path, image_paths=paths).text
    assert "of-tomorrow 0.5 (a=1) not known to this version" in text
    assert "cannot be shown: this version does not know it" in text
    assert "As it was asked" in text
    assert "Most often by of-<" not in markdown_summary(run)


def test_the_letter_that_a_change_moved_is_named(tmp_path: Path) -> None:
    record = make_record(1, prompt="Which?\nA. one\nB. two\nC. three", expected="A")
    run = make_run([record], findings=findings_on(("1", [Change("position-swapping", 1.0)])))
    text = section(run, tmp_path).text
    assert "Expected: option A is the right one" in text
    assert re.search("Expected now: option [BC] is the right one", text)


@pytest.mark.parametrize(("expected", "folded"), [("safe", True), ("refuse", True), ("comply", False), ("yes", False)])
def test_answers_that_may_do_harm_are_folded(tmp_path: Path, expected: str, folded: bool) -> None:
    run = make_run([make_record(1, expected=expected)], findings=findings_on(("1", [Change("tone", 1.0)])))
    assert len(section(run, tmp_path).all("details", "answer")) == folded


def test_the_simplest_case_comes_first_and_none_is_crowded_out() -> None:
    records = [make_record(i) for i in range(MAX_FINDINGS)]
    often = findings_on(*[("0", [Change("tone", 0.9)]), *[("0", [Change("tone", 1.0)])] * 5])
    others = findings_on(*((str(i), [Change("tone", (MAX_FINDINGS - i) / 100)]) for i in range(1, MAX_FINDINGS)))
    found = breaks_of(make_run(records, findings=(*often, *others)))
    assert [case.record.id for case in found.cases] == [*map(str, range(MAX_FINDINGS - 1, 0, -1)), "0"]
    assert (len(found.cases[-1].findings), found.cases[-1].more) == (1, 5)
    assert (found.shown, found.findings) == (MAX_FINDINGS, MAX_FINDINGS + 5)


def test_a_finding_on_no_record_is_left_out() -> None:
    found = breaks_of(make_run([make_record(1)], findings=findings_on(("2", [Change("tone", 1.0)]))))
    assert (found.cases, found.findings) == ((), 1)


def test_faults_of_the_judge_are_a_folded_list_of_their_own(tmp_path: Path) -> None:
    run = make_run([make_record(1)], judge_faults=findings_on(("1", [Change("tone", 1.0)])))
    shown = section(run, tmp_path)
    assert "Flips that are the judge's 1 flip" in shown.text
    assert "the judge changed its mind with the words of the prompt, not with the answer" in shown.text
    assert "open" not in shown.all("details", "faults")[0]
    assert "Findings" not in shown.text


# --- searches


def test_shares_that_a_search_broke_are_of_what_is_known() -> None:
    labels = ["broken", "broken", "fails-unperturbed", "held", "unsure"]
    (row,) = breaks_of(make_run([searched(i, label) for i, label in enumerate(labels)])).broken
    assert (row.direction, row.broken, row.cases, row.failing, row.unsure) == ("safe to unsafe", 3, 4, 1, 1)
    assert spaced(row.share) == "75.0 %"


def test_each_direction_has_its_row_and_its_curve() -> None:
    records = [searched(1), searched(2, tags={"aspect": "over-refusal"}), searched(3, tags={})]
    found = breaks_of(make_run(records))
    ways = ["answered to refused", "right to wrong", "safe to unsafe"]
    assert [row.direction for row in found.broken] == ways
    assert [curve.direction for curve in found.curves] == ways


def test_the_median_strength_is_where_half_of_the_cases_are_broken() -> None:
    strengths = [i / 100 for i in range(1, 100)]
    records = [searched(i, "broken", strength) for i, strength in enumerate(strengths)]
    (curve,) = breaks_of(make_run(records)).curves
    assert curve.median == "0.5"
    low, high = map(float, curve.interval.split(" to "))
    assert 0.35 < low < 0.5 < high < 0.65
    assert curve.drawn.line.startswith("0,100 1,100 1,98.99 ")
    assert curve.drawn.line.endswith("100,0")


def test_a_median_that_no_strength_reaches_is_said_so(tmp_path: Path) -> None:
    run = make_run([searched(1, "broken", 1.0), *(searched(i) for i in range(2, 40)), searched(40, "unsure")])
    (curve,) = breaks_of(run).curves
    assert (curve.median, curve.interval, curve.cases, curve.unsure) == (
        "not reached",
        "not reached to not reached",
        39,
        1,
    )
    assert "Half of them are broken at strength not reached" in section(run, tmp_path).text


def test_a_case_that_held_is_not_one_that_broke_at_full_strength() -> None:
    (held,) = breaks_of(make_run([searched(i) for i in range(3)])).curves
    (broke,) = breaks_of(make_run([searched(i, "broken", 1.0) for i in range(3)])).curves
    assert (held.median, broke.median) == ("not reached", "1")


def test_what_findings_are_made_of_is_counted_by_kind_of_case() -> None:
    records = [make_record(i, tags={"language": "zh" if i else "en"}) for i in range(3)]
    both = [Change("tone", 0.5), Change("tone", 0.2), Change("leetspeak", 0.5)]
    findings = findings_on(("0", both), ("1", both[:1]), ("2", both[2:]), ("2", both))
    found = breaks_of(make_run(records, findings=findings)).search_matrix
    assert found
    assert [(column.tag, column.value) for column in found.columns] == [
        ("", ""),
        ("language", "en"),
        ("language", "zh"),
    ]
    assert {name: [cell.text for cell in cells] for name, cells in found.rows} == {
        "leetspeak": ["2", "1", "1"], "tone": ["2", "1", "1"],
    }  # fmt: skip


# --- sweeps


def sweep(changes: dict[tuple[str, float], list[float | None]], **tags: str) -> Run:
    """Cases that pass as they stand, and the scores of each of them after the changes."""
    most = max(map(len, changes.values()))
    plain = [make_record(i, tags={tag: f"{value}{i % 2}" for tag, value in tags.items()}) for i in range(most)]
    made = [
        swept(i, name, strength, score, **plain[i].tags)
        for (name, strength), scores in changes.items()
        for i, score in enumerate(scores)
    ]
    return make_run([*plain, *made])


def test_techniques_are_listed_by_what_they_change() -> None:
    run = sweep({("tone", 1.0): [0.0, 1.0], ("shout", 0.5): [1.0, 1.0], ("shout", 1.0): [0.0, None]})
    table = breaks_of(run).sweep
    assert table
    assert [(row.technique, row.pairs, spaced(row.change)) for row in table.rows] == [
        ("shout 0.5", 2, "+100.0 points"), ("tone 1", 2, "+50.0 points"), ("shout 1", 1, "no change"),
        ("all techniques", 5, "+60.0 points"),
    ]  # fmt: skip
    assert (table.unscored, table.more) == (1, 0)


def test_techniques_beyond_the_room_are_counted(tmp_path: Path) -> None:
    run = sweep({(f"t{i:03}", 1.0): [i / (MAX_SWEPT + 2)] for i in range(MAX_SWEPT + 2)})
    table = breaks_of(run).sweep
    assert table
    assert (table.rows[0].technique, len(table.rows), table.more) == (f"t{MAX_SWEPT + 1} 1", MAX_SWEPT + 1, 2)
    assert "2 more techniques, counted in the last row." in section(run, tmp_path).text


def test_a_cell_of_few_pairs_has_no_number() -> None:
    run = sweep({("tone", 1.0): [1.0] * (2 * FEW - 1)}, language="l", modality="m")
    found = breaks_of(run).sweep_matrix
    assert found
    assert found.groups == [("", 1), ("modality", 2), ("language", 2)]
    assert [spaced(cell.text) for cell in found.rows[0][1]] == ["+100.0", "+100.0", "-", "+100.0", "-"]
    assert breaks_of(sweep({("tone", 1.0): [1.0]})).sweep_matrix is None


def test_columns_beyond_the_room_are_counted(tmp_path: Path) -> None:
    plain = [make_record(i, tags={"dimension": f"d{i}"}) for i in range(MAX_COLUMNS + 5)]
    run = make_run([*plain, *(swept(r.id, "tone", 1.0, 1.0, **r.tags) for r in plain)])
    found = breaks_of(run).sweep_matrix
    assert found
    assert (len(found.columns), found.more_columns) == (MAX_COLUMNS, 6)
    assert "Left out: 0 rows and 6 columns." in section(run, tmp_path).text


def test_rates_are_drawn_over_strength_where_there_are_several() -> None:
    changes = {(f"t{i:02}", s): [s * i / 20, 0.0] for i in range(MAX_MULTIPLES + 3) for s in (0.5, 1.0)}
    found = breaks_of(sweep({**changes, ("alone", 1.0): [1.0]})).multiples
    assert [one.name for one in found] == [f"t{i:02}" for i in range(MAX_MULTIPLES + 2, 2, -1)]
    assert found[0].drawn.line == "0,100 50,82.5 100,65"
    assert [spaced(text) for text in (found[0].start, found[0].end)] == ["0 %", "35.0 %"]
    assert spaced(found[0].drawn.label) == "t14: failing 0 % at 0, 17.5 % at 0.5, 35.0 % at 1"


# --- one change for all


def test_a_universal_change_is_measured_on_each_half(tmp_path: Path) -> None:
    halves = {
        "chosen-on": ["broken"] * 3 + ["held", "fails-unperturbed"],
        "held-out": ["broken", "held", "held", "unsure"],
    }
    pairs = [(half, label) for half, labels in halves.items() for label in labels]
    records = [make_record(i, tags=HARM) for i in range(len(pairs))]
    made = [under_universal(i, *pair) for i, pair in enumerate(pairs)]
    run = make_run([*records, *made], findings=findings_on(("0", [Change("tone", 0.5)])))
    found = breaks_of(run)
    (one,) = found.universal
    assert (one.suite, one.direction, one.failing, one.unsure) == ("demo", "safe to unsafe", 1, 1)
    assert [change.text for change in one.changes] == ["tone 0.5"]
    assert [(half.name, half.flipped, half.cases, spaced(half.share)) for half in one.halves] == [
        ("chosen-on", 3, 4, "75.0 %"), ("held-out", 1, 3, "33.3 %"),
    ]  # fmt: skip
    assert found.search_matrix is None
    assert "the held-out half had no part in choosing it" in section(run, tmp_path).text


def test_a_universal_change_that_flips_nothing_is_none(tmp_path: Path) -> None:
    run = make_run([under_universal(1, "chosen-on", "held")])
    (one,) = breaks_of(run).universal
    assert (one.changes, one.halves[1].cases) == ((), 0)
    assert "none flipped a case" in section(run, tmp_path).text


# --- Markdown


def markdown(run: Run) -> list[str]:
    return [line.strip() for line in spaced(markdown_summary(run)).splitlines()]


def test_the_summary_has_three_lines_on_a_search() -> None:
    records = [make_record(i, tags=HARM) for i in range(4)]
    made = [searched(i, "broken" if i else "held") for i in range(4)]
    changes = [Change("tone", 1.0), Change("leetspeak", 1.0)]
    lines = markdown(make_run([*records, *made], findings=findings_on(("1", changes), ("2", changes[:1]))))
    assert "4 cases, 4 scored." in lines
    assert lines[-3:] == [
        "Attacked (search): 4 cases, 2 findings, 0 flips that are the judge's.",
        "Broken: safe to unsafe 3 of 4 (75.0 %, 19.4 % to 99.4 %).",
        "Most often by tone (2 cases) and leetspeak (1 case).",
    ]


def test_the_summary_of_a_sweep_names_the_largest_changes() -> None:
    lines = markdown(sweep({("tone", 1.0): [0.0, 1.0], ("shout", 1.0): [1.0, 1.0], ("leetspeak", 1.0): [0.0, 0.0]}))
    assert lines[-2] == "Attacked (sweep): 2 cases, 0 findings, 0 flips that are the judge's."
    assert re.match(r"Largest change: shout 1 \+100.0 points \(.*\); tone 1 \+50.0 points \(.*\)\.$", lines[-1])


def test_the_summary_of_a_universal_change_is_about_the_held_out_half() -> None:
    lines = markdown(make_run([under_universal(1, "held-out", "broken"), under_universal(2, "chosen-on", "held")]))
    assert lines[-1] == "Broken: safe to unsafe, held out 1 of 1 (100 %, 2.5 % to 100 %)."


def test_a_summary_without_an_attack_says_nothing_of_one() -> None:
    assert not [line for line in markdown(make_run([make_record()])) if "ttack" in line]


# --- safe to open

HOSTILE = BREAKOUTS + "\x00\u202egnp\u200b" + "x " * 50_000


def hostile_run() -> Run:
    """Every text that an attack leaves in a run is an attack on its reader."""
    tags = {**HARM, "language": HOSTILE, "dimension": HOSTILE}
    records = [make_record(i, tags=tags, prompt=HOSTILE[: MAX_PROMPT + i - 1], expected="safe") for i in (1, 2)]
    technique = {"perturbation": HOSTILE, "strength": HOSTILE, "technique": HOSTILE, "plain": "1"}
    made = make_record("s", 1.0, tags={**tags, "attack": "sweep", **technique})
    universal = make_record("u", tags={"attack": "universal", "original": HOSTILE, "half": HOSTILE})
    verdicts = (Verdict("attack/1", HOSTILE, 1.0, HOSTILE), Verdict("strength/1", HOSTILE, 0.5, HOSTILE))
    search = make_record("q", tags={"attack": "search"}, verdicts=verdicts)
    changes = [Change("leetspeak", 0.5), Change(HOSTILE, 0.5, {HOSTILE: HOSTILE})]
    answers: Any = {"answer_before": HOSTILE, "answer_after": HOSTILE, "direction": HOSTILE}
    findings = tuple(make_finding(f"demo/{i}", of, **answers) for i in (1, 2) for of in (changes[:1], changes))
    return make_run([*records, made, universal, search], findings=findings, judge_faults=findings)


def test_every_text_of_an_attack_is_escaped_and_clipped(tmp_path: Path) -> None:
    shown = page(hostile_run(), tmp_path)
    assert len(shown.all("script")) == 1
    assert not {"img", "iframe", "link", "base", "object", "textarea"} & {tag for tag, _ in shown.elements}
    assert not [name for _, attrs in shown.elements for name in attrs if name.startswith("on")]
    assert not {"\x00", "\u202e", "\u200b"} & set(shown.html)
    assert "1337" not in shown.html
    assert len(shown.all("article", "turn")) == 4
    assert len(part(shown, "breaks").html) < 100_000
    assert "PWNED" not in re.sub("<!-- -->", "", markdown_summary(hostile_run())).replace("\\", "").partition("Most")[0]


def test_nothing_of_an_attack_runs_in_a_browser(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    page(hostile_run(), tmp_path)
    title = re.search("<title>(.*?)</title>", browse(path, tmp_path / "profile"), re.DOTALL)
    assert title
    assert "PWNED" not in title[1]


def test_pictures_of_findings_keep_to_the_budget_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pytest_mmsafety.report.thumbnails.MAX_BYTES", 1)
    path = tmp_path / "a.png"
    Image.effect_noise((64, 64), 90).save(path)
    image, paths = picture(path)
    run = make_run([make_record(1, images=(image,))], findings=findings_on(("1", [Change("noise", 1.0)])))
    ((before, after),) = breaks_of(run, image_paths=paths).cases[0].findings[0].images
    assert after
    assert not before.problem
    assert after.problem.startswith("Left out")


@pytest.mark.parametrize("name", sorted(PERTURBATIONS))
def test_every_perturbation_can_be_shown(tmp_path: Path, name: str) -> None:
    image, paths = picture(tmp_path / "a.png")
    prompt = "Which of these is it?\nA. The first one\nB. The second one"
    record = make_record(1, images=(image,), prompt=prompt, expected="A")
    found = breaks_of(make_run([record], findings=findings_on(("1", [Change(name, 1.0)]))), image_paths=paths)
    (card,) = found.cases[0].findings
    assert card.prompt
    assert "".join(piece.text + piece.rest for piece in card.prompt.before) == prompt
    assert not [after.problem for _, after in card.images if after and after.problem]


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    run = make_run([make_record(1, images=(image,))], findings=findings_on(("1", [Change("noise", 1.0)])))
    assert page(run, tmp_path, image_paths=paths).html == page(run, tmp_path, image_paths=paths).html


def test_numbers_of_pictures_are_numbers(tmp_path: Path) -> None:
    """No name from outside gets into the coordinates of a curve."""
    run = make_run([searched(i, "broken", i / 10) for i in range(5)])
    for element in (*section(run, tmp_path).all("polyline"), *section(run, tmp_path).all("polygon")):
        assert json.loads(f"[{re.sub('[ ,]+', ',', element['points'] or '')}]")
