"""A report is opened by people: what a model answers must neither run nor deceive nor fetch."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, cast

import pytest
from chromium import browse
from report_builders import Read, blocking, page, picture

from pytest_mmsafety.judge_errors import JudgeErrors, Stratum
from pytest_mmsafety.report import write_report
from pytest_mmsafety.report.text import visible
from pytest_mmsafety.run import ImageRef, Run, RunSettings, SuiteInfo
from pytest_mmsafety.testing import make_record, make_result, make_run
from pytest_mmsafety.verdicts import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BREAKOUTS = (
    "<script>document.title='PWNED'</script>"
    "</textarea></style></script></title><script>document.title='PWNED'</script>"
    "\"'><img src=x onerror=\"document.title='PWNED'\">"
    "<svg onload=\"document.title='PWNED'\"><iframe srcdoc=\"<script>parent.document.title='PWNED'</script>\">"
    "--> ]]> {{ 7 * 191 }} {% for x in y %} ${7*191} &lt;script&gt; javascript:alert(1) "
    "<link rel=stylesheet href=ADDRESS/css><img src=ADDRESS/img><meta http-equiv=refresh content='0;url=ADDRESS/meta'>"
    "<style>@import 'ADDRESS/import';body{background:url(ADDRESS/background)}</style><base href=ADDRESS/>"
)


def hostile(address: str = "http://192.0.2.1", *, image: ImageRef | None = None) -> Run:
    """A run in which every text is an attack."""
    attack = BREAKOUTS.replace("ADDRESS", address)
    tags = {attack: attack, "category": attack, "language": attack, "aspect": attack}
    others = {"category": "plain", "aspect": "vulnerability"}
    images = (ImageRef(attack, image.sha256 if image else "00"), ImageRef(attack, ""))
    verdicts = (Verdict(attack, attack, 1.0, attack), Verdict(attack, attack, None, attack))
    bad = make_record(
        attack,
        suite=attack,
        tags=tags,
        expected=attack,
        prompt=attack,
        images=images,
        response=attack,
        verdicts=verdicts,
    )
    result = blocking(attack)
    result = replace(
        result,
        reason=attack,
        gate=replace(result.gate, metric=attack, where={attack: (attack,)}, rule=cast("Any", attack), why=attack),
    )
    return make_run(
        [
            bad,
            replace(bad, id="2", key="2", tags=others, error=attack),
            replace(bad, id="3", key="3", skipped=attack, expected="refuse"),
            replace(bad, id="4", key="4", images=(), expected="refuse"),
        ],
        gates=(result, make_result(name="fine")),
        target=attack,
        fingerprint=attack,
        created=attack,
        version=attack,
        policy=attack,
        notes=(attack,),
        environment={attack: attack},
        settings=RunSettings(attack, {attack: attack}, attack, {attack: attack}),
        suites=(SuiteInfo(attack, attack, attack, attack, 5),),
    )


def hostile_beside(of: Run) -> dict[str, Any]:
    """A baseline, leaked cases and a calibration, as hostile as the run."""
    attack = of.target
    calm = [replace(each, verdicts=(Verdict(attack, attack, 0.0, attack),)) for each in of.records]
    stratum = Stratum({attack: attack}, 4, 1, 1, 1, 1, 0, 0, 4, 2, 2, (attack,))
    strata = (replace(stratum, by={}), stratum)
    judge_errors = {attack: JudgeErrors(attack, attack, 0.5, effective=False, files={}, strata=strata)}
    baseline = replace(
        of,
        records=tuple(calm),
        settings=RunSettings(attack, {attack: "other"}, "other", {attack: "other"}),
        fingerprint="",
    )
    return {"baseline": baseline, "leaked": {each.key for each in of.records}, "judge_errors": judge_errors}


def test_every_text_is_escaped(tmp_path: Path) -> None:
    shown = page(hostile(), tmp_path, **hostile_beside(hostile()))
    assert len(shown.all("article", "turn")) == 1
    assert len(shown.all("script")) == 1
    assert len(shown.all("style")) == 2
    assert not {"img", "iframe", "link", "base", "object", "textarea"} & {tag for tag, _ in shown.elements}
    assert not [name for _, attrs in shown.elements for name in attrs if name.startswith("on")]
    assert "1337" not in shown.html
    assert len(shown.all("meta")) == 5, "charset, policy, viewport, colour scheme, referrer"


def test_the_policy_allows_the_one_script_and_nothing_else(tmp_path: Path) -> None:
    shown = page(hostile(), tmp_path)
    policy = next(meta["content"] for meta in shown.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    script = shown.html[shown.html.index("<script>") + 8 : shown.html.index("</script>", shown.html.index("<script>"))]
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; script-src 'sha256-{hashed}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    before = shown.html[: shown.html.index("Content-Security-Policy")]
    assert re.findall("<(?!!)/?[a-z]+", before) == ["<html", "<head", "<meta", "<meta"]


def test_nothing_is_fetched(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    of = hostile(image=image)
    shown = page(of, tmp_path, paths, **hostile_beside(of))
    for _, attrs in shown.elements:
        assert "src" not in attrs
        assert (attrs.get("href") or "#").startswith("#")
    styles = "".join(re.findall("<style>(.*?)</style>", shown.html, re.DOTALL))
    assert set(re.findall(r"url\(([^)]{0,22})", styles)) == {"data:image/webp;base64"[:22]}
    assert "@import" not in styles


def test_unseen_characters_are_written_out(tmp_path: Path) -> None:
    text = "a\x00b\x07c\x1b[31md\x7fe\x85f\u202egnp.exe\u202c\u2066g\u200bh\ufeff\U000e0041\ud800\rj\u00adk"
    shown = page(make_run([make_record(response=text, tags={"category": "x\u202ey"})]), tmp_path)
    assert (
        "a⟨U+0000⟩b⟨U+0007⟩c⟨U+001B⟩[31md⟨U+007F⟩e⟨U+0085⟩f⟨U+202E⟩gnp.exe⟨U+202C⟩⟨U+2066⟩g⟨U+200B⟩h⟨U+FEFF⟩"
        "⟨U+E0041⟩⟨U+D800⟩⟨U+000D⟩j⟨U+00AD⟩k"
    ) in shown.text
    assert "x⟨U+202E⟩y" in shown.text
    assert visible(shown.html) == shown.html


def test_what_people_write_with_stays_as_it_is() -> None:
    text = "one\ttwo\nthree 图片 مرحبا 👩\u200d🔬 می\u200cخواهم ✔\ufe0f"
    assert visible(text) == text
    assert visible("a\r\nb") == "a\nb"


@pytest.fixture
def requests() -> Iterator[tuple[str, list[str]]]:
    """A server that notes who calls: its address and the paths that were asked for."""
    asked: list[str] = []

    class Note(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Note) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
        server.shutdown()
        thread.join()


def test_nothing_runs_and_nothing_is_fetched_in_a_browser(tmp_path: Path, requests: tuple[str, list[str]]) -> None:
    address, asked = requests
    image, paths = picture(tmp_path / "a.png")
    path = tmp_path / "report.html"
    of = hostile(address, image=image)
    write_report(of, path, image_paths=paths, **hostile_beside(of))
    shown = Read(browse(path, tmp_path / "profile"))
    title = re.search("<title>(.*?)</title>", shown.html, re.DOTALL)
    assert title
    assert title[1].startswith("Blocked by 1 of 2 gates")
    assert "hidden" not in shown.all("form")[0], "the page's own script did not run"
    assert asked == []


DRIVER = """
<script>
const results = [];
const shown = () => [...document.querySelectorAll("#cases .card:not([hidden]) h3")];
const seen = () => shown().map((title) => title.textContent.split(" / ")[1]).join(",");
const blur = () => getComputedStyle(document.querySelector(".pic")).filter;
results.push(blur().includes("blur"));
document.querySelector(".peek").click(); results.push(blur());
document.querySelector(".peek").click(); results.push(blur().includes("blur"));
document.getElementById("show-images").click(); results.push(blur());
document.querySelector("dd [data-pick]").click(); results.push(seen());
document.querySelector(".gates [data-pick]").click(); results.push(seen());
document.getElementById("filters").reset();
const search = document.getElementById("search");
search.value = "LION picture"; search.dispatchEvent(new Event("input", {bubbles: true})); results.push(seen());
results.push(document.getElementById("shown").textContent);
document.getElementById("unfold").click(); results.push(document.querySelector(".answer").open);
document.title = JSON.stringify(results);
</script>
"""


def test_filters_and_blur_work_in_a_browser(tmp_path: Path) -> None:
    image, paths = picture(tmp_path / "a.png")
    records = (
        make_record("bad", score=1.0, expected="refuse", images=(image,)),
        make_record("lion", prompt="A picture of a Lion"),
        make_record("zh", tags={"language": "zh"}),
    )
    path = tmp_path / "report.html"
    of = make_run(records, gates=(make_result(where={"language": ("zh",)}),))
    before = replace(of, records=tuple(replace(each, verdicts=(Verdict("j", "x", 0.0),)) for each in records))
    write_report(of, path, image_paths=paths, baseline=before)
    html = path.read_text(encoding="utf-8")
    without_policy = re.sub("<meta http-equiv[^>]*>", "", html).replace("</body>", DRIVER + "</body>")
    path.write_text(without_policy, encoding="utf-8")
    shown = Read(browse(path, tmp_path / "profile"))
    title = re.search("<title>(.*?)</title>", shown.html, re.DOTALL)
    assert title
    assert title[1] == '[true,"none",true,"none","bad","zh","lion","1 of 3 cases",true]'


def test_nothing_of_a_report_is_imported_before_one_is_asked_for() -> None:
    code = "import sys, pytest_mmsafety.plugin.hooks, pytest_mmsafety.cli.main;"
    code += "print({'pytest_mmsafety.report', 'jinja2', 'PIL', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
