"""Values of options: what can be read from them, and what is wrong in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_mmsafety.arguments import (
    is_secret,
    parse_count,
    parse_data,
    parse_pairs,
    public_arguments,
    public_value,
    without_secrets,
    without_values,
)
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


# --- what may be written down


@pytest.mark.parametrize(
    "name",
    """api_key key token secret password passwd pwd credential credentials auth authorization bearer header headers
    cookie session pat access_key_id private_key private_key_path api_key_2 key1 apikey apikey2 apiKey hf_token HF_TOKEN
    OPENAI_API_KEY AWS_SECRET_ACCESS_KEY github_pat X-Api-Key accessToken auth_header client-secret DB_PASSWORD
    session_token openai_key_prod session_id bearer_token API_KEYS ssh_key basicAuth passphrase jwt""".split(),  # noqa: SIM905
)
def test_names_of_secrets(name: str) -> None:
    assert is_secret(name)
    assert public_arguments({name: "x"}) == {name: "***"}


@pytest.mark.parametrize(
    "name",
    """max_new_tokens token_budget keyword monkey max_tokens key_env pad_token eos_token_id tokenizer temperature
    num_tokens author keyboard path pattern secretary authority passenger url model dtype device_map compat
    max_token_length session_timeout image_token auth_type sort_key patch_size header_size turkey_size""".split(),  # noqa: SIM905
)
def test_names_that_are_harmless(name: str) -> None:
    assert not is_secret(name)
    assert public_arguments({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    ("value", "public"),
    [
        ("0.5", "0.5"),
        ("", ""),
        ("owner/name", "owner/name"),
        ("/data/secret-project/model.bin", "model.bin"),
        ("/data/model/", "model"),
        ("~/keys/id_rsa", "id_rsa"),
        ("./model", "model"),
        ("../a/b", "b"),
        (r"C:\Users\me\model.bin", "model.bin"),
        ("/no_think", "/no_think"),
        ("https://host/v1", "https://host/v1"),
        ("https://me:pw@host:1/v1?key=abc&sig=d#e", "https://***@host:1/v1?***"),
        ("x" * 5000, "x" * 5000),
        ("a\0b", "a\0b"),
    ],
)
def test_a_value_as_it_may_be_written_down(value: str, public: str) -> None:
    assert public_value(value) == public


def test_of_a_folder_that_is_there_the_last_part_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a")
    assert public_value("b") == public_value(str(tmp_path / "a" / "b")) == "b"
    assert public_value(".") == "a"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("401 for key sk-argument-1!", "401 for key ***!"),
        ("b'Bearer env/with+odd=chars'", "b'Bearer ***'"),
        ("?x=env%2Fwith%2Bodd%3Dchars", "?x=***"),
        ("GET https://me:url-password@host/v1?sig=1, then", "GET https://***@host/v1?***, then"),
        ("url-password was wrong (https://h/a?b=c).", "*** was wrong (https://h/a?***)."),
        ("MIIEvQIBADANBgkqhkiG9w0BAQ failed", "*** failed"),
        ("short is masked, shorts are not", "*** is masked, shorts are not"),
        ("the value true of auth", "the value true of auth"),
        ("the value tiny-1 of a variable", "the value tiny-1 of a variable"),
        ("see https://docs.host/page", "see https://docs.host/page"),
    ],
)
def test_a_text_without_secrets(monkeypatch: pytest.MonkeyPatch, text: str, hidden: str) -> None:
    parse_pairs("--judge-args", "api_key=sk-argument-1,pwd=short,auth=true,url=https://me:url-password@host/v1")
    monkeypatch.setenv("SOME_TOKEN", "env/with+odd=chars")
    monkeypatch.setenv("OTHER_KEY", "tiny-1")
    monkeypatch.setenv("PEM_PRIVATE_KEY", "-----BEGIN-----\nMIIEvQIBADANBgkqhkiG9w0BAQ\n-----END-----")
    assert without_secrets(text) == hidden


def test_where_a_model_may_be_quoted_urls_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_TOKEN", "abcdefgh")
    assert without_values("https://h/a?b=c abcdefgh") == "https://h/a?b=c ***"


def test_where_one_works_is_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/some/folder")
    monkeypatch.setenv("OLDPWD", "/some/folder")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/some/agent-1")
    assert without_secrets("/some/folder/a /some/agent-1") == "/some/folder/a /some/agent-1"


def test_the_end_of_a_secret_with_a_comma_is_not_shown() -> None:
    with pytest.raises(SetupError) as error:
        parse_pairs("--model-args", "api_key=half,other-half")
    assert str(error.value) == "--model-args: *** is not name=value"
