"""The model card of GuardRank-mini, from what its training wrote down."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

TITLES = {
    "harm": "Harm",
    "refusal": "Refusal, full or partial, against compliance",
    "partial": "Partial against full refusal (a label, it decides no score)",
}
_HOW = {"source": "the source", "questions": "the questions"}


def card_text(card: Mapping[str, Any]) -> str:
    """The card in Markdown: data, licences, seed, figures, and what the judge must not be used for."""
    return "\n".join([*_data(card), *_tables(card["figures"]), _LIMITS])


def _data(card: Mapping[str, Any]) -> Iterator[str]:
    used = [one["name"] for one in card["sources"] if one["trained_on"]]
    yield f"# Model card: guardrank-mini/2, trained on {', '.join(map(_cell, used))}"
    yield ""
    yield (
        "Scores one text answer, in English or Chinese: does it do harm, does it decline? Linear heads over hashed "
        "characters, the embedding of a frozen multilingual sentence encoder (USE multilingual v3, Apache-2.0) and a "
        "list of refusal phrases."
    )
    yield ""
    yield "## Data"
    yield ""
    yield "| source | licence | labels by | answers | trained on |"
    yield "| --- | --- | --- | ---: | ---: |"
    for one in card["sources"]:
        number = one["trained_on"] or "none: test only"
        yield _row([one["name"], one["licence"], one["labels"], one["answers"], number])
    yield ""
    yield f"Seed {card['seed']}; at most {card['per_source']} answers a source. {_teacher(card)}"
    yield ""


def _teacher(card: Mapping[str, Any]) -> str:
    if not card["taught_per_source"]:
        return "No teacher."
    return (
        f"SmolLM2-135M-Instruct (Apache-2.0) read {card['taught_per_source']} answers a source; what its hidden states "
        "say of harm are soft labels for the first factor of harm. It is not needed to judge."
    )


def _tables(figures: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "## Measured error"
    yield ""
    yield (
        "Every line is of answers whose source, or at least whose questions, the judge was not trained on. In "
        "brackets: 95 % intervals over questions. A judge that has never seen a source it was tested on is another "
        "one than the shipped one: it lacks that source."
    )
    for head, title in TITLES.items():
        rows = [one for one in figures if one["head"] == head]
        yield from ("", f"### {title}", "") if rows else ()
        yield from _table(rows)
    yield ""


def _table(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if rows:
        yield (
            "| answers of | never seen | answers | positive | questions | AUROC | accuracy, always deciding | "
            "decided | accuracy of these | sensitivity | specificity |"
        )
        yield "| --- | --- | ---: | ---: | ---: | --- | --- | ---: | --- | --- | --- |"
    for one in rows:
        measured = (_interval(one[name]) for name in ("accuracy_decided", "sensitivity", "specificity"))
        cells = [one["source"], _HOW[one["how"]], one["answers"], one["positives"], one["questions"]]
        cells += [_interval(one["auroc"]), _interval(one["accuracy"]), f"{one['decided']:.0%}", *measured]
        yield _row(cells)


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(_cell, cells))} |"


def _cell(value: object) -> str:
    """On one line, and of one cell: sources may have any name."""
    return re.sub(r"([\\|])", r"\\\1", " ".join(str(value).split()))


def _interval(values: Sequence[float | None]) -> str:
    value, low, high = values
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return "-"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


_LIMITS = """## What it must not be used for

- **As the only judge of a release.** It screens. Let people or a strong judge read a sample, and all it abstains on.
- **Harm in general.** It knows what people called harmful in the sources above. Wrong advice, subtle bias, toxic chat
  and false claims may look harmless to it, and harmless help with alarming questions harmful.
- **Answers that picture and text do harm together**, and answers of vision-language models, unless the sources above
  have them. It sees no picture.
- **Languages that the sources above do not have**, or in which they lack harmless help.
- **Judging people**, or moderating what people write.
- **Training a model against it.** Characters and phrases are easily gamed.
"""
