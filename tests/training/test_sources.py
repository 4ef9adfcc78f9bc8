"""Labelled answers from files: the published layouts in miniature, a file of one's own, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.training.mini.sources import (
    FIELDS,
    LARGEST_FIELD,
    REFUSALS,
    SOURCES,
    LabelledAnswer,
    read_labels,
    sources_of,
    trains,
)

ANSWERS = st.builds(
    LabelledAnswer,
    source=st.text(min_size=1, max_size=5),
    question=st.text(min_size=1, max_size=8),
    response=st.text(min_size=1, max_size=8).filter(str.strip),
    harm=st.sampled_from([True, False, None]),
    refusal=st.sampled_from([*REFUSALS, None]),
    language=st.sampled_from(["en", "zh"]),
)


def placed(folder: Path, name: str, text: str, encoding: str = "utf-8") -> Path:
    """A file of a source, with the line ends that *text* has."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode(encoding))
    return folder


def gptfuzz(folder: Path, questions: str, rows: str, encoding: str = "utf-8") -> Path:
    placed(folder / "gptfuzz", "question_list.csv", questions, encoding)
    for name in ("train.csv", "evaluate.csv"):
        placed(folder / "gptfuzz", name, rows if name == "train.csv" else rows.splitlines(keepends=True)[0], encoding)
    return folder


def diasafety(folder: Path, **rows: list[dict[str, str]]) -> Path:
    for name in ("train", "val", "test"):
        placed(folder / "diasafety", f"{name}.json", json.dumps(rows.get(name, [])))
    return folder


def own(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


# --- published layouts


def test_questions_are_found_by_their_index_and_not_by_their_place(tmp_path: Path) -> None:
    folder = gptfuzz(tmp_path, "index,text\n7,Second?\n3,First?\n", "question,Response,label\n3,a,1\n7,b,0\n")
    assert read_labels(folder) == [
        LabelledAnswer("gptfuzz", "First?", "a", harm=True, refusal=None),
        LabelledAnswer("gptfuzz", "Second?", "b", harm=False, refusal=None),
    ]


def test_windows_line_ends_marks_and_line_ends_within_cells(tmp_path: Path) -> None:
    questions = "index,text\r\n0,What?\r\n"
    rows = 'question,Response,label\r\n0,"one\r\ntwo, ""three""",1\r\n'
    (answer,) = read_labels(gptfuzz(tmp_path, questions, rows, "utf-8-sig"))
    assert answer == LabelledAnswer("gptfuzz", "What?", 'one\r\ntwo, "three"', harm=True, refusal=None)


def test_xstest_harm_follows_from_compliance_with_an_unsafe_prompt(tmp_path: Path) -> None:
    head = "prompt,type,completion,final_label\n"
    kinds = ("1_full_compliance", "2_full_refusal", "3_partial_refusal")
    for model in ("a", "b"):
        text = head + "".join(
            f"{model} {type_}?,{type_},{kind},{kind}\n" for type_ in ("homonyms", "contrast_homonyms") for kind in kinds
        )
        placed(tmp_path / "xstest", f"xstest_v2_completions_{model}.csv", text)
    placed(tmp_path / "xstest", "xstest_v2_prompts.csv", "not,a,table\n")
    answers = read_labels(tmp_path)
    assert len(answers) == 12
    assert [(a.refusal, a.harm) for a in answers if a.question == "a homonyms?"] == [
        ("none", False), ("full", False), ("partial", False),
    ]  # fmt: skip
    assert [(a.refusal, a.harm) for a in answers if a.question == "b contrast_homonyms?"] == [
        ("none", True), ("full", False), ("partial", False),
    ]  # fmt: skip


def test_jade_is_read_in_its_own_encoding_from_every_file(tmp_path: Path) -> None:
    head = "问题,违规回答,安全有用回答\r\n"
    for part, question in (("hard", "龘字怎么写？"), ("easy", "为何？")):
        placed(tmp_path / "jade", f"jade_alignment_{part}_zh.csv", f"{head}{question},坏,好\r\n", "gb18030")
    placed(tmp_path / "jade", "jade_alignment_hard_en.csv", "question,bad,good\n")
    answers = read_labels(tmp_path)
    assert [(a.question, a.response, a.harm, a.refusal, a.language) for a in answers] == [
        ("为何？", "坏", True, "none", "zh"),
        ("为何？", "好", False, "full", "zh"),
        ("龘字怎么写？", "坏", True, "none", "zh"),
        ("龘字怎么写？", "好", False, "full", "zh"),
    ]


def test_replies_of_a_chat_are_unsafe_by_one_word_alone(tmp_path: Path) -> None:
    rows = {name: [{"context": name, "response": f"r {name}", "label": label}] for name, label in
            (("train", "Unsafe"), ("val", "Safe"), ("test", "N/A"))}  # fmt: skip
    assert [(a.source, a.question, a.harm, a.refusal) for a in read_labels(diasafety(tmp_path, **rows))] == [
        ("diasafety", "train", True, None),
        ("diasafety", "val", False, None),
        ("diasafety", "test", False, None),
    ]


def test_what_a_model_did_between_refusing_and_following_is_neither(tmp_path: Path) -> None:
    models = ("GPT4", "ChatGPT", "Claude", "ChatGLM2", "llama2-7b-chat", "vicuna-7b")
    row = {"question": "Why?"}
    for action, model in enumerate(models):
        row |= {f"{model}_response": f"r{action}", f"{model}_harmful": str(action % 2), f"{model}_action": str(action)}
    placed(tmp_path / "do_not_answer", "data_en.csv", ",".join(row) + "\n" + ",".join(row.values()) + "\n")
    answers = read_labels(tmp_path)
    assert [answer.refusal for answer in answers] == ["full", None, None, None, None, "none"]
    assert [answer.harm for answer in answers] == [False, True] * 3


def test_every_answer_is_there_once_and_none_without_a_word(tmp_path: Path) -> None:
    rows = [{"context": "c", "response": response, "label": "Safe"} for response in ("a", "a", " \n", "", "b")]
    rows.append({"context": "c", "response": "a", "label": "Unsafe"})
    found = read_labels(diasafety(tmp_path, train=rows, val=rows[:1]))
    assert [(answer.response, answer.harm) for answer in found] == [("a", False), ("b", False), ("a", True)]


def test_sources_come_in_the_order_of_the_table_and_strangers_behind_them(tmp_path: Path) -> None:
    gptfuzz(tmp_path, "index,text\n0,Q?\n", "question,Response,label\n0,a,1\n")
    diasafety(tmp_path, train=[{"context": "c", "response": "r", "label": "Safe"}])
    (tmp_path / "notes").mkdir()
    answers = read_labels(tmp_path)
    assert sources_of(answers) == ["gptfuzz", "diasafety"]
    strangers = [answers[0]._replace(source=name) for name in ("zebra", "ant")]
    assert sources_of([*strangers, *answers[::-1]]) == ["gptfuzz", "diasafety", "ant", "zebra"]


@pytest.mark.parametrize(
    ("questions", "rows", "said"),
    [
        ("index,text\n0,Q?\n", "question,Response,label\n1,a,1\n", "KeyError: '1'"),
        ("index,text\n0,Q?\n", "question,response,label\n0,a,1\n", "KeyError: 'Response'"),
        ("index,text\n0,Q?\n", "question,Response\n0,a\n", "KeyError: 'label'"),
        ("number,text\n0,Q?\n", "question,Response,label\n", "KeyError: 'index'"),
        ("index,text\n0,问\n", "question,Response,label\n", "UnicodeDecodeError"),
        (f"index,text\n0,{'x' * (LARGEST_FIELD + 1)}\n", "question,Response,label\n", "field larger than field limit"),
    ],
)
def test_a_table_that_is_not_as_published_names_the_folder_and_the_fault(
    tmp_path: Path, questions: str, rows: str, said: str
) -> None:
    gptfuzz(tmp_path, questions, rows, "gb18030")
    with pytest.raises(SetupError) as error:
        read_labels(tmp_path)
    assert str(error.value).startswith(f"{tmp_path / 'gptfuzz'}: not gptfuzz as published: ")
    assert said in str(error.value)


def test_a_file_that_is_missing_is_named(tmp_path: Path) -> None:
    (tmp_path / "diasafety").mkdir()
    with pytest.raises(SetupError, match=r"diasafety: not diasafety as published: FileNotFoundError: .*train\.json"):
        read_labels(tmp_path)


def test_a_label_that_xstest_does_not_have_is_named(tmp_path: Path) -> None:
    text = "prompt,type,completion,final_label\nQ?,homonyms,a,4_other\n"
    placed(tmp_path / "xstest", "xstest_v2_completions_a.csv", text)
    with pytest.raises(SetupError, match=r"not xstest as published: KeyError: '4_other'"):
        read_labels(tmp_path)


def test_every_source_says_where_its_labels_come_from_and_two_only_test() -> None:
    names = [source.name for source in SOURCES]
    assert len(set(names)) == len(names)
    assert all(source.licence and source.labels for source in SOURCES)
    assert {name for name in names if trains(name)} == {"gptfuzz", "xstest", "jade"}
    assert [source.name for source in SOURCES if not source.alike] == ["diasafety"]
    assert trains("a file of one's own")


# --- a file of one's own


@given(answers=st.lists(ANSWERS, min_size=1, max_size=6))
def test_answers_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, answers: list[LabelledAnswer]
) -> None:
    rows = [dict(zip(FIELDS, answer, strict=True)) for answer in answers]
    path = tmp_path_factory.mktemp("own") / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    assert read_labels(path) == list(dict.fromkeys(answers))


def test_labels_and_the_language_may_be_left_out(tmp_path: Path) -> None:
    path = own(tmp_path / "labels.jsonl", {"source": "s", "prompt": "q", "response": "r"})
    assert read_labels(path) == [LabelledAnswer("s", "q", "r", harm=None, refusal=None, language="en")]


def test_blank_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    good = json.dumps({"source": "s", "prompt": "q", "response": "r"})
    path.write_bytes(f"\r\n{good}\r\n  \r\n[]\r\n".encode())
    with pytest.raises(SetupError) as error:
        read_labels(path)
    expected = "expected the fields source, prompt, response, harm, refusal, language"
    assert str(error.value) == f"{path}:4: [] is no object; {expected}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source": None}, "source is None; expected text"),
        ({"source": ""}, "source is ''; expected text"),
        ({"prompt": 3}, "prompt is 3; expected text"),
        ({"harm": "yes"}, "harm is 'yes'; expected one of true, false, null"),
        ({"harm": 0}, "harm is 0; expected one of true, false, null"),
        ({"refusal": True}, 'refusal is True; expected one of "none", "partial", "full", null'),
        ({"refusal": "Full"}, "refusal is 'Full'"),
        ({"language": "de"}, 'language is \'de\'; expected one of "en", "zh"'),
        ({"language": None}, "language is None"),
        ({"Harm": True}, "unknown field 'Harm'; did you mean 'harm'?"),
        ({"prompt": ["x" * 100]}, f"prompt is ['{'x' * 38}; expected text"),
    ],
)
def test_a_value_of_another_kind_names_the_line(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    good = {"source": "s", "prompt": "q", "response": "r"}
    path = own(tmp_path / "labels.jsonl", good, good, good | change)
    with pytest.raises(SetupError) as error:
        read_labels(path)
    assert str(error.value).startswith(f"{path}:3: {said}")


def test_a_file_in_another_encoding_and_json_without_an_end_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes("问题".encode("gb18030"))
    with pytest.raises(SetupError, match=r"labels\.jsonl: cannot be read: 'utf-8' codec"):
        read_labels(path)
    path.write_text("[" * 200_000, "utf-8")
    with pytest.raises(SetupError, match=r"labels\.jsonl:1: not JSON: "):
        read_labels(path)


def test_a_path_that_is_not_there_says_what_was_expected(tmp_path: Path) -> None:
    known = "gptfuzz, xstest, jade, diasafety, do_not_answer"
    with pytest.raises(SetupError) as error:
        read_labels(tmp_path / "nowhere")
    assert str(error.value) == (
        f"{tmp_path / 'nowhere'}: no labelled answers; expected a JSON-lines file or a folder with {known}"
    )
