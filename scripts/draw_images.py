"""Draw the pictures of the shipped suites: ``scripts/images/*.yaml`` to ``cases/images/*.png``.

Without options all of them; ``--only FILE`` those that this file describes. ``--check`` draws nothing and exits 1
with the names of pictures that look different, are missing, are not described, or that no case shows. The same
description gives the same bytes: noise is seeded, nothing depends on the date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from PIL import Image, ImageChops

from pictures.book import DESCRIPTIONS, Book, DrawingError, read_book, read_part
from pictures.kinds import render

CASES = Path(__file__).resolve().parents[1] / "cases"
IMAGES = CASES / "images"

VISIBLE = 48
"""Levels of 255 by which a 4 x 4 block may differ before two pictures look different. A changed digit is
above it, the hairlines in which two versions of a font renderer differ are below."""


def look_alike(one: Image.Image, other: Image.Image) -> bool:
    if one.size != other.size:
        return False
    difference = ImageChops.difference(one.convert("RGB").reduce(4), other.convert("RGB").reduce(4))
    return max(high for _, high in difference.getextrema()) <= VISIBLE  # type: ignore[misc]


def shown(cases: Path = CASES) -> set[str]:
    """Names of the pictures that a case of any suite shows."""
    rows = (json.loads(line) for path in cases.glob("*.jsonl") for line in path.read_text("utf-8").splitlines())
    return {Path(image).stem for row in rows for image in row.get("images", ())}


def complaints(book: Book, images: Path = IMAGES, cases: Path = CASES) -> list[str]:
    """List what ``--check`` finds, a line each."""
    described = book.images.keys()
    present = {path.stem for path in images.glob("*.png")}
    used = shown(cases)
    found = [f"{name}: missing" for name in described - present]
    found += [f"{name}: not described" for name in present - described]
    found += [f"{name}: no case shows it" for name in described - used]
    found += [f"{name}: a case shows it, but it is not described" for name in used - described - present]
    for name in described & present:
        with Image.open(images / f"{name}.png") as image:
            if not look_alike(image, render(name, book)):
                found.append(f"{name}: looks different from its description")
    return sorted(found)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Draw the pictures of the shipped suites.")
    parser.add_argument("--check", action="store_true", help="draw nothing; exit 1 where a picture is not up to date")
    parser.add_argument("--only", metavar="FILE", help="draw the pictures of this file of scripts/images/")
    options = parser.parse_args(arguments)
    try:
        book = read_book()
        if options.check:
            found = complaints(book)
            sys.stderr.writelines(f"{line}\n" for line in found)
            return 1 if found else 0
        IMAGES.mkdir(exist_ok=True)
        entries = read_part(DESCRIPTIONS / options.only).images if options.only else book.images.values()
        for name in (entry.name for entry in entries):
            render(name, book).save(IMAGES / f"{name}.png", optimize=True)
    except DrawingError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
