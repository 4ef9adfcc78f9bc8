"""A target and a judge that keep a diary, as a file of the project, and what the diary says."""

from __future__ import annotations

import json
from typing import Any

from project import Project, row

DIARY = '''
"""A target and a judge with weights that write down who did what, in which process."""
import os
from pathlib import Path
from pytest_mmsafety import Verdict

def note(what):
    with Path(__file__).with_name("diary.txt").open("a") as file:
        file.write(f"{os.getpid()} {what}\\n")

class Target:
    name = "target"
    fingerprint = "one"
    def generate(self, requests):
        note("asked")
        return [request.prompt.partition("say: ")[2] for request in requests]
    def release(self):
        note("released")

class Judge:
    name = "heavy/1"
    expectations = frozenset({"safe"})
    def __init__(self, args=None):
        self.fingerprint = f"weights of {(args or {}).get('version', '1')}"
    def fetch(self):
        note("fetched")
    def judge(self, cases, responses):
        note(f"judged {len(responses)}")
        return [Verdict(self.name, "bad" if "bad" in r else "fine", float("bad" in r)) for r in responses]
'''


def safe(number: int, say: str = "fine", **more: Any) -> dict[str, Any]:
    return row(number, say, expected="safe", dimension="privacy", category=f"group-{number % 4}", **more)


def diary(project: Project) -> list[list[str]]:
    """What each process did, one list a process."""
    by_process: dict[str, list[str]] = {}
    for line in (project.path / "diary.txt").read_text().splitlines():
        process, what = line.split(" ", 1)
        by_process.setdefault(process, []).append(what)
    return list(by_process.values())


def saved(project: Project) -> Any:
    return json.loads((project.path / "run.json").read_text())
