"""USB-SafeBench (Zheng et al. 2025, arXiv 2505.23793), read from its published CSV files.

The authors write some names in two ways (``Inappropriate values`` and ``Inappropriate Values``): names are
compared as slugs. The MOSSBench probes at the end of each file have no place in the taxonomy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pytest_mmsafety.benchmarks.csv_tables import Images, cell, find_table, one_of, shown, slug, unique_rows
from pytest_mmsafety.cases import OVER_REFUSAL, VULNERABILITY, Case
from pytest_mmsafety.documents import Row
from pytest_mmsafety.errors import DataError

#: Level 1 -> level 2 -> level 3, as slugs: 3, 16 and 61 of them.
TAXONOMY = {
    "national-safety": {
        "culture-and-history": ("cultural-tradition-denigration", "historical-distortion"),
        "military": (
            "disclosure-of-military-personnel-info", "disclosure-of-military-secrets", "weapon-fabrication-guidance",
        ),
    },
    "public-safety": {
        "biology-and-environment": ("environmental-damage", "protected-animal-hurting", "protected-plant-logging"),
        "business": (
            "business-ethics-violations", "monopoly-and-unfair-competition", "other-commercial-violations",
        ),
        "content-safety": (
            "gambling-promotion", "inappropriate-scenarios", "pornographic-content", "terrorism-and-extremism",
            "violence",
        ),
        "hazardous-and-controlled-materials": (
            "cold-weapon", "controlled-medical-substances", "drug-precursor-chemicals",
            "hazardous-pathogens-and-chemicals",
        ),
        "intellectual-property": ("copyright-infringement", "patent-infringement", "trademark-infringement"),
        "network-attacks": (
            "cyber-intelligence-gathering", "cyberattack-guidance", "malicious-code-generation",
            "password-and-captcha-cracking", "phishing-email-guidance",
        ),
        "other-public-safety": ("other-illegal-behavior",),
        "personal-rights-and-property": (
            "abuse-and-exploitation-of-minors", "infringement-of-individual-rights", "personal-injury",
            "production-and-trafficking-of-drug", "property-damage", "public-endangerment",
        ),
        "privacy-protection": (
            "business-secret-disclosure", "government-information-leakage", "model-information-leakage",
            "personal-information-leakage",
        ),
    },
    "ethical-safety": {
        "bias-and-discrimination": (
            "age-discrimination", "ethnic-discrimination", "gender-discrimination", "health-discrimination",
            "nationality-discrimination", "occupational-discrimination", "other-discrimination",
            "regional-discrimination", "religious-discrimination",
        ),
        "inappropriate-values": (
            "ai-ethics-concerns", "devaluation-of-positive-values", "harmful-rumors", "promotion-of-negative-values",
            "subjective-moral-judgments",
        ),
        "insults-and-condemnation": ("hate-speech", "hostile-condemnation", "verbal-abuse"),
        "psychological-health": ("embarrassing-content", "induced-negative-emotions", "interpersonal-misguidance"),
        "superstition": ("feudal-content-promotion", "superstition-promotion"),
    },
}  # fmt: skip

USAGES = {"vulnerability": VULNERABILITY, "overrefusal": OVER_REFUSAL}
"""The published word -> the aspect."""
EXPECTED = {VULNERABILITY: "safe", OVER_REFUSAL: "comply"}
RISKS = {
    **dict.fromkeys(("0", "0.0", "false", "safe", "无风险"), "S"),
    **dict.fromkeys(("1", "1.0", "true", "risky", "有风险"), "R"),
}
"""Spellings of both years, and the ``1.0`` that pandas makes of a column with gaps."""
LEVELS = ("level1_category", "level2_category", "level3_category")
PROMPTS = {"en": "text", "zh": "text_zh"}
"""Language -> column. The files of 2026 have no Chinese."""
PROBES = "mossbench"
"""Category of the over-refusal rows without levels."""


def load_base(root: Path, suite: str) -> list[Case]:
    """Read ``USB_base_final.csv``; *root* is the folder of the data set.

    Raises :class:`DataError` for a layout or a row that is not as published. Part of the rows is fine.
    A case without an image says why it is skipped.
    """
    return _load(root, suite, "USB_base_final.csv")


def load_hard(root: Path, suite: str) -> list[Case]:
    """Read ``USB_hard_final.csv`` as :func:`load_base` reads the base file."""
    return _load(root, suite, "USB_hard_final.csv")


def _load(root: Path, suite: str, name: str) -> list[Case]:
    table = find_table(root, (name, f"*/{name}"))
    images = Images(root, table)
    return [case for row in unique_rows(table, "id") for case in _cases(row, suite, images)]


def _cases(row: Row, suite: str, images: Images) -> Iterator[Case]:
    """One case a language. The id always ends in the language, so it stays when a file gains another."""
    tags = published_tags(row)
    prompts = {language: row.values[name] for language, name in PROMPTS.items() if row.values.get(name, "").strip()}
    if not prompts:
        raise DataError(row.at(), "text: empty; expected a prompt there or in text_zh")
    image, skip = images.find(row, "open_url")
    for language, prompt in prompts.items():
        yield Case(
            id=f"{row.values['id']}-{language}",
            suite=suite,
            prompt=prompt,
            expected=EXPECTED[tags["aspect"]],
            images=(image,) if image else (),
            tags={**tags, "language": language},
            skip=skip,
        )


def published_tags(row: Row) -> dict[str, str]:
    """The tags of a row, from its columns ``usage``, the three levels, the two risks and the style.

    Raises :class:`DataError` for a value that is not published.
    """
    usage = one_of(row, "usage", USAGES)
    place, modality = _place(row, usage), _modality(row, usage)
    return {"benchmark": "usb", **place, **modality, **_style(row), "aspect": USAGES[usage]}


def _place(row: Row, usage: str) -> dict[str, str]:
    """The place in the taxonomy, as tags."""
    if usage == "overrefusal" and not any(row.values.get(name) for name in LEVELS):
        return {"category": PROBES}
    level1 = one_of(row, LEVELS[0], TAXONOMY)
    level2 = one_of(row, LEVELS[1], TAXONOMY[level1])
    level3 = one_of(row, LEVELS[2], TAXONOMY[level1][level2])
    return {"level1": level1, "category": f"{level2}/{level3}"}


def _modality(row: Row, usage: str) -> dict[str, str]:
    if usage == "overrefusal" and not (row.values.get("img_risk") or row.values.get("text_risk")):
        return {}
    image, text = (_risk(row, name) for name in ("img_risk", "text_risk"))
    return {"modality": f"{image}I{text}T"}


def _risk(row: Row, name: str) -> str:
    value = cell(row, name)
    if (risk := RISKS.get(value.strip().lower())) is None:
        raise DataError(row.at(), f"{name}: {shown(value)}; expected 0 (safe) or 1 (risky)")
    return risk


def _style(row: Row) -> dict[str, str]:
    style = slug(row.values.get("img_style", ""))
    return {"style": "synthetic" if style == "synthesis" else style} if style else {}
