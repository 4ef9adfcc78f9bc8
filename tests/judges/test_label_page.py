"""The page for labelling in a browser: keys, what is saved, and answers that would like to run."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest
from PIL import Image
from test_judge_label import ATTACK, record, run_of

from pytest_mmsafety.annotations.folder import write_sample
from pytest_mmsafety.annotations.sample import draw
from pytest_mmsafety.run import ImageRef

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

DRIVER = """
<script>
const results = [];
const press = (key) => document.body.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
const state = () => document.getElementById("place").textContent + "; " + document.getElementById("progress").textContent;
const say = () => results.push(state());
const person = document.getElementById("annotator");
const name = (value) => { person.value = value; person.dispatchEvent(new Event("change")); person.blur(); };
const blur = () => getComputedStyle(document.querySelector(".frame img")).filter.includes("blur");
press("y"); say();
name("Ann / <b>"); say();
results.push(blur()); press("i"); results.push(blur());
press("y"); results.push(blur()); press("n"); press("u"); say();
press("z"); say();
press("ArrowLeft"); say();
press("g"); say();
document.getElementById("note").value = "a note"; press("U"); say();
name("Ben"); say();
name("Ann / <b>"); say();
HTMLAnchorElement.prototype.click = function () { document.getElementById("results").dataset.file = this.download; };
window.Blob = class { constructor(parts) { this.said = parts.join(""); } };  // whose text is there at once
URL.createObjectURL = (blob) => {
  for (const [id, value] of [["results", JSON.stringify(results)], ["saved", blob.said]]) {
    const out = document.createElement("pre");
    out.id = id;
    out.textContent = value;
    document.body.append(out);
  }
  return "about:blank";
};
URL.revokeObjectURL = () => {};
document.getElementById("download").click();
</script>
"""


def browse(page: Path) -> str:
    """The page as chromium has it after its scripts ran."""
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync", "--timeout=10000",
        f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if not done.stdout.strip():
        pytest.skip(f"chromium does not start here: {done.stderr.strip()[-200:]}")
    return done.stdout


def page_of(folder: Path) -> Path:
    Image.new("RGB", (60, 40), (200, 0, 0)).save(folder / "a.png")
    image = ImageRef("a.png", hashlib.sha256((folder / "a.png").read_bytes()).hexdigest())
    run = run_of(*(record(i, ATTACK, prompt=ATTACK, images=(image,), cluster="c") for i in range(4)))
    write_sample(draw(run, 4, 0, [], "binary"), folder, {image.sha256: str(folder / "a.png")})
    return folder / "label.html"


def element(html: str, name: str) -> str:
    found = re.search(f'id="{name}"[^>]*>(.*?)</', html, re.DOTALL)
    assert found, "the page's script did not run"
    return unescape(found[1])


def test_a_hostile_answer_is_shown_and_does_not_run(tmp_path: Path) -> None:
    html = browse(page_of(tmp_path))
    assert "<title>Label 4 answers</title>" in html
    assert element(html, "response").startswith("</script><script>document.title='PWNED'")
    assert element(html, "place") == "1 of 4"


def test_keys(tmp_path: Path) -> None:
    """With the policy that forbids foreign scripts taken out, so that the driver runs; the answers still must not."""
    page = page_of(tmp_path)
    text = re.sub("<meta http-equiv[^>]*>", "", page.read_text())
    page.write_text(text.replace("</body>", f"{DRIVER}</body>"))
    html = browse(page)
    assert "<title>Label 4 answers</title>" in html
    assert json.loads(element(html, "results")) == [
        "1 of 4; 0 of 4 labelled",  # nothing without a name
        "1 of 4; 0 of 4 labelled",
        True,
        False,
        True,  # blurred again with the next answer
        "4 of 4; 3 of 4 labelled, 1 not sure",
        "3 of 4; 2 of 4 labelled",  # undone
        "2 of 4; 2 of 4 labelled",
        "3 of 4; 2 of 4 labelled",
        "4 of 4; 3 of 4 labelled, 1 not sure",
        "1 of 4; 0 of 4 labelled",  # another person begins anew
        "4 of 4; 3 of 4 labelled, 1 not sure",  # and the first one's labels are kept
    ]
    assert 'data-file="labels-Ann-b-.jsonl"' in html
    saved = [json.loads(line) for line in element(html, "saved").splitlines()]
    assert [(label["answer"], label["note"]) for label in saved] == [("yes", ""), ("no", ""), ("unsure", "a note")]
    assert {label["annotator"] for label in saved} == {"Ann / <b>"}
