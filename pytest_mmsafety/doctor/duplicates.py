"""The same case twice, nearly the same case, and one case with two labels: within a suite and across suites."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from pytest_mmsafety.cases import Case
from pytest_mmsafety.doctor.images import Picture, near_looks
from pytest_mmsafety.doctor.problems import ERROR, INFO, WARNING, Problem, some
from pytest_mmsafety.doctor.sources import Source
from pytest_mmsafety.doctor.texts import contents, near_texts, normalised, same
from pytest_mmsafety.regressions import REGRESSION


class Item(NamedTuple):
    """A case, and what it is compared by."""

    case: Case
    published: bool
    text: str
    """Folded by :func:`same`, without the lines that most prompts of the suite share."""
    images: tuple[str, ...]
    """Digests. An image that cannot be read is like no other."""


class Shares(NamedTuple):
    """How many of a suite's cases have a neighbour in any suite that is not meant to be alike."""

    exact: int
    near_prompt: int
    near_image: int
    """Images of other bytes that show nearly the same."""
    near_both: int


class Compared(NamedTuple):
    """What came of it."""

    problems: tuple[Problem, ...]
    shares: Mapping[str, Shares]
    """By the name of the suite."""


def compare(sources: Sequence[Source], pictures: Mapping[str, Picture]) -> Compared:
    """Compare all cases with one another."""
    items = [item for source in sources for item in _items(source, pictures)]
    exact = list(_exact(items))
    near_images = _near_images(items, pictures)
    near_prompts = _near_prompts(items)
    both = [(a, b) for a, b in near_prompts if _same_images(items[a], items[b], near_images)]
    alone = sorted(set(near_prompts) - set(both))
    problems = (
        *_exact_problems(items, exact),
        *_label_conflicts(items),
        *_near_case_problems(items, both),
        *_near_prompt_problems(items, alone),
        *_near_image_problems(items, near_images),
    )
    like_another = {digest for pair in near_images for digest in pair}
    involved = (
        {number for group in exact for number in group},
        {number for pair in near_prompts for number in pair},
        {number for number, item in enumerate(items) if like_another.intersection(item.images)},
        {number for pair in both for number in pair},
    )
    names = {source.suite.name: [0, 0, 0, 0] for source in sources}
    for column, numbers in enumerate(involved):
        for number in numbers:
            names[items[number].case.suite][column] += 1
    return Compared(problems, {name: Shares(*columns) for name, columns in names.items()})


def _items(source: Source, pictures: Mapping[str, Picture]) -> Iterator[Item]:
    # Regressions are variants of other cases, on purpose.
    cases = [case for case in source.suite.cases if case.tags.get("attack") != REGRESSION]
    for case, content in zip(cases, contents([case.prompt for case in cases]), strict=True):
        digests = tuple(pictures[path].sha256 or case.key for path in case.images)
        # Whether a case whose image is missing is another's twin is unknown.
        yield Item(case, bool(source.loader), same(content), (case.key,) if case.skip else digests)


def _exact(items: Sequence[Item]) -> Iterator[list[int]]:
    """Groups with the same words, images and expectation."""
    for members in _grouped((item.text, item.images) for item in items):
        for alike in _grouped(items[number].case.expected for number in members):
            if len(alike) > 1:
                yield [members[number] for number in alike]


def _exact_problems(items: Sequence[Item], groups: Iterable[list[int]]) -> Iterator[Problem]:
    for group in groups:
        first = items[group[0]].case
        for number in group[1:]:
            case = items[number].case
            if case.suite == first.suite:
                severity = WARNING if items[number].published else ERROR
                message = f"the same words, images and expectation as {first.id}"
                yield Problem(severity, "duplicate-case", case.suite, case.id, message)
            else:
                message = f"the same words, images and expectation as {first.key}: both suites count it"
                yield Problem(WARNING, "duplicate-across-suites", case.suite, case.id, message)


def _label_conflicts(items: Sequence[Item]) -> Iterator[Problem]:
    for members in _grouped((item.text, item.images) for item in items):
        labels = {items[number].case.expected: number for number in reversed(members)}
        if len(labels) > 1:
            first, *others = sorted(labels.values())
            case = items[first].case
            listed = "; ".join(f"{items[number].case.key} expects {items[number].case.expected!r}" for number in others)
            message = f"expects {case.expected!r}, and with the same words and images {listed}"
            yield Problem(ERROR, "label-conflict", case.suite, case.id, message)


def _grouped(keys: Iterable[Hashable]) -> Iterator[list[int]]:
    """Positions of equal keys, in order."""
    groups: defaultdict[Hashable, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        groups[key].append(number)
    return iter(groups.values())


def _near_images(items: Sequence[Item], pictures: Mapping[str, Picture]) -> set[tuple[str, str]]:
    """Pairs of digests, in order, of images that nearly show the same, unless they are meant to."""
    looks = {picture.sha256: picture.look for picture in pictures.values() if picture.look}
    digests = sorted(looks)
    users: defaultdict[str, list[Case]] = defaultdict(list)
    for item in items:
        for digest in item.images:
            users[digest].append(item.case)
    pairs = ((digests[a], digests[b]) for a, b in near_looks([looks[digest] for digest in digests]))
    return {
        (one, other)
        for one, other in pairs
        if not any(_linked(a, b) for a in users[one] for b in users[other])  # a noise pair, a swapped pair
    }


def _near_prompts(items: Sequence[Item]) -> list[tuple[int, int]]:
    """Pairs of cases with nearly the same words, unless they are meant to have them; the same words do not count."""
    texts = sorted({item.text for item in items})
    holders: defaultdict[str, list[int]] = defaultdict(list)
    for number, item in enumerate(items):
        holders[item.text].append(number)
    found = set()
    for one, other in near_texts([normalised(text) for text in texts]):
        for a, b in _pairs(items, holders[texts[one]], holders[texts[other]]):
            if not _meant(items[a].case, items[b].case):
                found.add((min(a, b), max(a, b)))
    return sorted(found)


def _pairs(items: Sequence[Item], left: Sequence[int], right: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Each with the first of the other side, and those with the same images: the product of both could be huge."""
    yield from ((number, right[0]) for number in left)
    yield from ((left[0], number) for number in right)
    by_images = {items[number].images: number for number in left}
    yield from ((by_images[images], number) for number in right if (images := items[number].images) in by_images)


def _meant(a: Case, b: Case) -> bool:
    """Whether two cases are alike on purpose: contrasts, variants, and attacks, which re-word other items."""
    return (
        a.expected != b.expected
        or a.tags.get("variant") != b.tags.get("variant")
        or "attack" in (a.tags.get("bucket"), b.tags.get("bucket"))
        or _linked(a, b)
    )


def _linked(a: Case, b: Case) -> bool:
    return a.suite == b.suite and (
        b.id in (a.tags.get("twin"), a.tags.get("plain"))
        or a.id in (b.tags.get("twin"), b.tags.get("plain"))
        or ("pair" in a.tags and a.tags["pair"] == b.tags.get("pair"))
        or (a.cluster is not None and a.cluster == b.cluster)
    )


def _same_images(a: Item, b: Item, near: set[tuple[str, str]]) -> bool:
    return len(a.images) == len(b.images) and all(
        one == other or (min(one, other), max(one, other)) in near
        for one, other in zip(a.images, b.images, strict=True)
    )


def _near_case_problems(items: Sequence[Item], pairs: Iterable[tuple[int, int]]) -> Iterator[Problem]:
    nearest = {second: first for first, second in sorted(pairs, reverse=True)}
    for second, first in nearest.items():
        earlier, case = items[first].case, items[second].case
        name = earlier.id if earlier.suite == case.suite else earlier.key
        message = (
            f"nearly the same words as {name}, and the same image" if case.images else f"nearly the words of {name}"
        )
        yield Problem(WARNING, "near-duplicate-case", case.suite, case.id, message)


def _near_prompt_problems(items: Sequence[Item], pairs: Sequence[tuple[int, int]]) -> Iterator[Problem]:
    for members in _connected(pairs):
        first = items[members[0]].case
        others = [
            items[number].case.id if items[number].case.suite == first.suite else items[number].case.key
            for number in members[1:]
        ]
        message = f"nearly the same words as {some(others)}"
        yield Problem(INFO, "near-duplicate-prompt", first.suite, first.id, message)


def _near_image_problems(items: Sequence[Item], near: set[tuple[str, str]]) -> Iterator[Problem]:
    first_user = {digest: item.case for item in reversed(items) for digest in item.images}
    for one, other in sorted(near):
        a, b = sorted((first_user[one], first_user[other]), key=lambda case: case.key)
        name = a.id if a.suite == b.suite else a.key
        message = f"nearly the image of {name} in another file: they count as independent unless they share a 'cluster'"
        yield Problem(WARNING, "near-duplicate-image", b.suite, b.id, message)


def _connected(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Groups of numbers that *pairs* link, directly or through others."""
    group_of: dict[int, list[int]] = {}
    for pair in pairs:
        one, other = (group_of.setdefault(number, [number]) for number in pair)
        if one is not other:
            smaller, larger = sorted((one, other), key=len)
            larger += smaller
            group_of.update(dict.fromkeys(smaller, larger))
    return sorted({id(group): sorted(group) for group in group_of.values()}.values())
