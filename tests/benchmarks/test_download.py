"""Downloads from a hub that answers as the real one, on this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("huggingface_hub")

COMMITS = {"main": "a" * 40, "a" * 40: "a" * 40, "b" * 40: "b" * 40}
FILES = {"USB_hard_final.csv": b"id,usage\n1,vulnerability\n", "images/1.txt": b"x"}


class Hub(BaseHTTPRequestHandler):
    """One gated data set, with two commits, for whoever has the token."""

    def log_message(self, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        revision = next((part for part in path.split("/") if part in COMMITS), "main")
        if "/cgjacklin/USB" not in path:
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if self.headers.get("Authorization") != "Bearer hf_right":
            return self.answer(403, b"{}", {"X-Error-Code": "GatedRepo"})
        if "nothing" in path:
            return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
        for name, content in FILES.items():
            if path.endswith(f"/resolve/{revision}/{name}"):
                size = {"X-Linked-Size": str(len(content)), "ETag": f'"{len(content)}{name[0]}"'}
                return self.answer(200, content, {**size, "X-Repo-Commit": COMMITS[revision]})
        if "/tree/" in path:
            listing = [{"type": "file", "path": name, "size": len(c), "oid": "0"} for name, c in FILES.items()]
            return self.answer(200, json.dumps(listing).encode())
        siblings = [{"rfilename": name} for name in FILES]
        info = {"id": "cgjacklin/USB", "sha": COMMITS[revision], "siblings": siblings}
        return self.answer(200, json.dumps(info).encode())

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def install(endpoint: str, folder: Path, *options: str, token: str = "hf_right") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(folder / "home"), "HF_TOKEN": token}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "pytest_mmsafety.cli.main", "install", *options, "--to", str(folder / "data")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.timeout(240)
def test_download_notes_the_commit_and_keeps_to_it(endpoint: str, tmp_path: Path) -> None:
    done = install(endpoint, tmp_path, "usb", "--revision", "b" * 40)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0), done.stderr
    assert f"--data usb={tmp_path / 'data'}" in done.stdout
    assert (tmp_path / "data" / "USB_hard_final.csv").read_bytes() == FILES["USB_hard_final.csv"]
    assert (tmp_path / "data" / "mmsafety-revision.txt").read_text() == f"cgjacklin/USB {'b' * 40}\n"
    again = install(endpoint, tmp_path, "usb")
    assert "b" * 40 in again.stdout


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("options", "token", "problem"),
    [
        (("usb",), "hf_wrong", "cgjacklin/USB is gated: ask for access on its page"),
        (("usb", "--revision", "nothing"), "hf_right", "cgjacklin/USB has no revision 'nothing'"),
        (("mllmguard",), "hf_right", "is not found; gated sets look like that without a token"),
    ],
)
def test_what_goes_wrong_is_one_line(
    endpoint: str, tmp_path: Path, options: tuple[str, ...], token: str, problem: str
) -> None:
    done = install(endpoint, tmp_path, *options, token=token)
    assert done.returncode == 4
    assert problem in done.stderr
    assert done.stderr.count("\n") == 1
    assert "hf_" not in done.stderr


@pytest.mark.timeout(240)
def test_no_network_is_one_line(tmp_path: Path) -> None:
    done = install("http://127.0.0.1:9", tmp_path, "usb")
    assert done.returncode == 4
    assert "the hub cannot be reached" in done.stderr
    assert done.stderr.count("\n") == 1
