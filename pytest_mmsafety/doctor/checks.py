"""What can be wrong inside of one suite: its images, its pairs, and blanks in its texts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pytest_mmsafety.cases import Case
from pytest_mmsafety.doctor.images import Picture
from pytest_mmsafety.doctor.problems import ERROR, INFO, WARNING, Problem
from pytest_mmsafety.doctor.sources import Source
from pytest_mmsafety.doctor.texts import normalised
from pytest_mmsafety.errors import nearest

NO_TECHNIQUE = "none"
"""Value of the tag ``technique`` in a case that is there for comparison."""
TINY, HUGE = 32, 4096
"""Pixels of a side: below, nothing can be recognised; above, every vision encoder shrinks it unseen."""


def image_problems(source: Source, pictures: Mapping[str, Picture]) -> Iterator[Problem]:
    """Images that are missing, damaged, of another type than their name says, tiny or huge."""
    suite, reported = source.suite.name, set()
    for case in source.suite.cases:
        if case.skip:
            code = "image-never-published" if case.skip_kind == "unpublished" else "image-missing"
            yield Problem(WARNING, code, suite, case.id, case.skip)
        for path in case.images:
            if path not in reported:
                reported.add(path)
                for severity, code, message in _picture_problems(pictures[path]):
                    yield Problem(severity, code, suite, case.id, message, path)


def _picture_problems(picture: Picture) -> Iterator[tuple[str, str, str]]:
    if picture.fault:
        yield ERROR, "image-unreadable", picture.fault
        return
    if picture.expected_format not in ("", picture.format):
        yield WARNING, "image-type", f"named as {picture.expected_format}, is {picture.format}"
    if min(picture.size) < TINY:
        yield WARNING, "image-tiny", f"{picture.size[0]} x {picture.size[1]} pixels"
    if max(picture.size) > HUGE:
        yield WARNING, "image-huge", f"{picture.size[0]} x {picture.size[1]} pixels"


def unused_images(sources: Sequence[Source]) -> Iterator[Problem]:
    """Files beside the images of the cases that no case uses; not for a suite that may share its folder."""
    used = {path for source in sources for case in source.suite.cases for path in case.images}
    alone = {str(Path(path).parent) for source in sources if source.alone for path in _paths(source)}
    owners = {str(Path(path).parent): source for source in sources for path in _paths(source)}
    for folder, source in owners.items():
        if folder not in alone:
            for file in sorted(Path(folder).iterdir()):
                beside = file.name.startswith((".", "README", "LICENSE")) or not file.is_file()
                if not beside and str(file) not in used:
                    yield Problem(INFO, "image-unused", source.suite.name, "", "no case uses it", str(file))


def _paths(source: Source) -> Iterator[str]:
    return (path for case in source.suite.cases for path in case.images)


def text_problems(source: Source) -> Iterator[Problem]:
    """Blanks that look like slips."""
    for case in source.suite.cases:
        lines = case.prompt.split("\n")
        if any(re.search(r"\S {2,}\S", line) for line in lines):
            yield Problem(INFO, "double-blank", source.suite.name, case.id, "two blanks in a row")
        if any(line != line.rstrip() or re.search(r'[^\s"] +"$', line) for line in lines):
            yield Problem(INFO, "trailing-blank", source.suite.name, case.id, "a blank at the end")


def pair_problems(source: Source) -> Iterator[Problem]:
    """Cases that name one another (tags ``twin``, ``plain``) or share a name (tag ``pair``) and do not fit."""
    by_id = {case.id: case for case in source.suite.cases}
    pairs: defaultdict[str, list[Case]] = defaultdict(list)
    for case in source.suite.cases:
        yield from _twin_problems(case, by_id)
        yield from _plain_problems(case, by_id)
        if "pair" in case.tags:
            pairs[case.tags["pair"]].append(case)
    for name, members in pairs.items():
        for code, message in _pair_problems(members):
            yield Problem(ERROR, code, source.suite.name, members[0].id, f"pair {name!r}: {message}")


def _twin_problems(case: Case, by_id: Mapping[str, Case]) -> Iterator[Problem]:
    if (name := case.tags.get("twin")) is None:
        return
    twin = by_id.get(name)
    if twin is None:
        message = f"twin {name!r} is no case of this suite{nearest(name, by_id)}"
        yield Problem(ERROR, "twin-missing", case.suite, case.id, message)
    elif (back := twin.tags.get("twin")) != case.id:
        message = f"twin {name!r} points to {back!r}" if back else f"twin {name!r} points to none"
        yield Problem(ERROR, "twin-one-sided", case.suite, case.id, message)
    elif twin.expected == case.expected and case.id < name:
        message = f"twin {name!r} also expects {case.expected!r}; expected the opposite"
        yield Problem(ERROR, "twin-same-label", case.suite, case.id, message)


def _plain_problems(case: Case, by_id: Mapping[str, Case]) -> Iterator[Problem]:
    if (name := case.tags.get("plain")) is None:
        return
    plain = by_id.get(name)
    if plain is None:
        message = f"plain twin {name!r} is no case of this suite{nearest(name, by_id)}"
        yield Problem(ERROR, "plain-missing", case.suite, case.id, message)
    elif "plain" in plain.tags or plain.tags.get("technique", NO_TECHNIQUE) != NO_TECHNIQUE:
        message = f"plain twin {name!r} uses a technique itself; expected a case without"
        yield Problem(ERROR, "plain-not-plain", case.suite, case.id, message)


def _pair_problems(members: list[Case]) -> Iterator[tuple[str, str]]:
    """Noise pairs ask the same with the same answer; swapped pairs ask the same with another answer."""
    variants = {case.tags.get("variant", "") for case in members}
    noise, swapped = "noisy" in variants or "clean" in variants, "swapped" in variants
    if not (noise or swapped):
        return
    if len(members) != 2 or len(variants) != 2:
        found = ", ".join(f"{case.id} ({case.tags.get('variant', 'no variant')})" for case in members)
        yield "pair-incomplete", f"expected two variants, found {found}"
        return
    one, other = members
    if normalised(one.prompt) != normalised(other.prompt):
        yield "pair-prompts", f"{one.id} and {other.id} ask different things"
    if one.images and one.images == other.images:
        yield "pair-same-image", f"{one.id} and {other.id} show the same image"
    if noise and one.expected != other.expected:
        yield "pair-labels", f"{one.expected!r} and {other.expected!r} are expected; noise does not change the answer"
    if swapped and one.expected == other.expected and re.fullmatch("[A-H]", one.expected):
        yield "pair-labels", f"both expect {one.expected!r}; where options swap places, the answer's letter changes"
