"""The page for labelling: what people see, keys, what is saved, and answers that would like to run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from chromium import browse
from label_runs import ATTACK, HUNDRED, answer, ok, saved
from PIL import Image

from pytest_mmsafety.annotations.folder import write_sample
from pytest_mmsafety.annotations.sample import draw
from pytest_mmsafety.cli.main import main
from pytest_mmsafety.files import shipped
from pytest_mmsafety.run import ImageRef
from pytest_mmsafety.testing import make_run


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
        ImageRef(ATTACK, "00" * 32),
        ImageRef("../../etc/passwd", "00" * 32),
        ImageRef("a.png", "11" * 32),
    )
    run = make_run([answer(0, ATTACK, prompt=ATTACK, images=images, tags={ATTACK: ATTACK}), answer(1)])
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
    run = saved(
        make_run([answer(0, images=(found,)), answer(1, images=(found, ImageRef("b.png", "11" * 32)))]), tmp_path
    )
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


# --- in a browser

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


def page_of(folder: Path) -> Path:
    Image.new("RGB", (60, 40), (200, 0, 0)).save(folder / "a.png")
    image = ImageRef("a.png", hashlib.sha256((folder / "a.png").read_bytes()).hexdigest())
    run = make_run([answer(i, ATTACK, prompt=ATTACK, images=(image,), cluster="c") for i in range(4)])
    write_sample(draw(run, 4, 0, [], "binary"), folder, {image.sha256: str(folder / "a.png")})
    return folder / "label.html"


def element(html: str, name: str) -> str:
    found = re.search(f'id="{name}"[^>]*>(.*?)</', html, re.DOTALL)
    assert found, "the page's script did not run"
    return unescape(found[1])


def test_a_hostile_answer_is_shown_and_does_not_run(tmp_path: Path) -> None:
    html = browse(page_of(tmp_path), tmp_path / "profile")
    assert "<title>Label 4 answers</title>" in html
    assert element(html, "response").startswith("</script><script>document.title='PWNED'")
    assert element(html, "place") == "1 of 4"


def test_keys(tmp_path: Path) -> None:
    """With the policy that forbids foreign scripts taken out, so that the driver runs; the answers still must not."""
    page = page_of(tmp_path)
    text = re.sub("<meta http-equiv[^>]*>", "", page.read_text())
    page.write_text(text.replace("</body>", f"{DRIVER}</body>"))
    html = browse(page, tmp_path / "profile")
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
