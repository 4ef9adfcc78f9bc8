"""Errors: their fields, their one line, and that they survive the way to another process."""

from __future__ import annotations

import pickle

import pytest

from pytest_mmsafety.errors import DataError, ImageError, MmsafetyError, SetupError, nearest, plural


def test_an_error_in_data_keeps_where_what_and_the_hint() -> None:
    error = DataError("cases/usb.jsonl:12", "expected: 'yess' is not known", nearest("yess", ["yes", "no"]))
    assert (error.where, error.problem, error.hint) == (
        "cases/usb.jsonl:12",
        "expected: 'yess' is not known",
        "; did you mean 'yes'?",
    )
    assert str(error) == "cases/usb.jsonl:12: expected: 'yess' is not known; did you mean 'yes'?"


@pytest.mark.parametrize(
    ("where", "file"),
    [
        ("cases/usb.jsonl:12", "cases/usb.jsonl"),
        ("cases/usb.yaml", "cases/usb.yaml"),
        ("2026-01-01T12:30/usb.csv:3", "2026-01-01T12:30/usb.csv"),
    ],
)
def test_an_error_in_data_knows_its_file(where: str, file: str) -> None:
    assert DataError(where, "not UTF-8").file == file


def test_an_error_of_an_image_keeps_its_path_and_what_is_wrong() -> None:
    error = ImageError("images/图.png", "image is empty (0 bytes)")
    assert (error.path, error.problem) == ("images/图.png", "image is empty (0 bytes)")
    assert str(error) == "images/图.png: image is empty (0 bytes)"


@pytest.mark.parametrize(
    "error",
    [
        SetupError("--model: 'x' is not known"),
        DataError("a.yaml:1", "not valid YAML", "; did you mean 'b'?"),
        DataError("a.yaml", "cannot be read"),
        ImageError("a.png", "damaged image: truncated"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_is_the_same_in_another_process(error: MmsafetyError) -> None:
    """Workers of xdist pickle what they raise."""
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert (str(copy), vars(copy)) == (str(error), vars(error))


@pytest.mark.parametrize("error", [SetupError, DataError, ImageError])
def test_every_error_can_be_caught_as_one(error: type[Exception]) -> None:
    assert issubclass(error, MmsafetyError)


@pytest.mark.parametrize(("number", "text"), [(0, "0 cases"), (1, "1 case"), (2, "2 cases"), (1200, "1,200 cases")])
def test_a_number_has_its_noun_in_the_right_form(number: int, text: str) -> None:
    assert plural(number, "case") == text


def test_a_noun_may_have_a_plural_of_its_own() -> None:
    assert [plural(n, "reply", "replies") for n in (1, 2)] == ["1 reply", "2 replies"]


def test_what_is_close_to_nothing_gets_no_hint() -> None:
    assert nearest("zzz", ["yes", "no"]) == ""
