"""Values of options: what can be read from them, and what is wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_mmsafety.arguments import parse_count, parse_data, parse_pairs
from pytest_mmsafety.errors import SetupError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max_new_tokens", "--model-args: 'max_new_tokens' is not name=value"),
        ("=5", "--model-args: '=5' is not name=value"),
        (" =5", "--model-args: ' =5' is not name=value"),
        ("a=1,b", "--model-args: 'b' is not name=value"),
        ("a=1,a=2", "--model-args: 'a' is given twice"),
        ("a=1, a =2", "--model-args: 'a' is given twice"),
    ],
)
def test_model_args_are_pairs(text: str, message: str) -> None:
    with pytest.raises(SetupError) as error:
        parse_pairs("--model-args", text)
    assert str(error.value) == message


def test_model_args_keep_what_stands_behind_the_first_equals_sign() -> None:
    assert parse_pairs("--model-args", "a=b=c, d = 1 ,,e=") == {"a": "b=c", "d": "1", "e": ""}


@pytest.mark.parametrize("text", ["0", "-1", "abc", "", "1.5", "1e3", " 8", "100001", "9" * 5000, "²", "8\n", "None"])
def test_a_batch_size_is_a_whole_number(text: str) -> None:
    with pytest.raises(SetupError, match=r"--batch-size: .* is not a whole number from 1 to 100000"):
        parse_count("--batch-size", text, 100_000)


@pytest.mark.parametrize(("text", "size"), [("1", 1), ("100000", 100_000), ("008", 8), ("８", 8)])
def test_a_batch_size_of_any_script(text: str, size: int) -> None:
    assert parse_count("--batch-size", text, 100_000) == size


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["msa"], "--data: 'msa' is not NAME=PATH"),
        (["=x"], "--data: '=x' is not NAME=PATH"),
        (["msa="], "--data: 'msa=' is not NAME=PATH"),
        (["msa=nowhere"], "--data: msa: 'nowhere' is not a folder"),
        (["msa=file"], "--data: msa: 'file' is not a folder"),
        (["msa=.", "msa=.."], "--data: 'msa' is given twice: "),
    ],
)
def test_data_names_a_folder(tmp_path: Path, values: list[str], message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SetupError) as error:
        parse_data(values, tmp_path)
    assert str(error.value).startswith(message)
