"""LoRA: an adapter merged against the matrix product, trained and written, and what of PEFT's files is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from pytest_mmsafety.errors import SetupError
from pytest_mmsafety.judges.guardrank.lora import (
    Adapter,
    Shape,
    adapter_config,
    adapter_tensors,
    add_lora,
    merge,
    read_adapter,
    read_config,
    read_tensors,
    weights_file,
)

PREFIX = "base_model.model."


def model(inputs: int = 3, outputs: int = 4, dtype: torch.dtype = torch.float32) -> torch.nn.Module:
    """Two linear layers by the names of a transformer's, and a head."""
    torch.manual_seed(0)
    inner = torch.nn.ModuleDict(
        {"q_proj": torch.nn.Linear(inputs, outputs), "k_proj": torch.nn.Linear(inputs, outputs)}
    )
    return torch.nn.ModuleDict({"block": inner, "score": torch.nn.Linear(outputs, 2, bias=False)}).to(dtype)


def halves(rank: int = 2, inputs: int = 3, outputs: int = 4, seed: int = 1) -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(rank, inputs, generator=generator), torch.randn(outputs, rank, generator=generator)


def adapter(folder: Path, tensors: dict[str, Any] | None = None, **config: Any) -> Path:
    """A folder as PEFT writes it; *config* changes what it says."""
    a, b = halves()
    key = f"{PREFIX}block.q_proj"
    save_file(tensors or {f"{key}.lora_A.weight": a, f"{key}.lora_B.weight": b}, folder / "adapter_model.safetensors")
    known = {"peft_type": "LORA", "lora_alpha": 6, "r": 2, "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(known | config))
    return folder


# --- merged


@settings(max_examples=25)
@given(rank=st.integers(1, 4), inputs=st.integers(1, 5), outputs=st.integers(1, 5), scale=st.floats(-2, 2))
def test_a_merged_weight_is_the_base_and_the_scaled_product(rank: int, inputs: int, outputs: int, scale: float) -> None:
    of, (a, b) = model(inputs, outputs), halves(rank, inputs, outputs)
    before = {name: parameter.clone() for name, parameter in of.named_parameters()}
    merge(of, Adapter({"block.q_proj": (a, b, scale)}, {}), "here")
    for name, parameter in of.named_parameters():
        if name != "block.q_proj.weight":
            assert torch.equal(parameter, before[name])
            continue
        for i in range(outputs):
            for j in range(inputs):
                wanted = before[name][i, j] + scale * sum(b[i, k] * a[k, j] for k in range(rank))
                assert float(parameter[i, j].detach()) == pytest.approx(float(wanted.detach()), abs=1e-5)


def test_a_base_in_half_precision_is_added_to_in_full_and_keeps_its_format() -> None:
    of, (a, b) = model(dtype=torch.bfloat16), halves()
    before = of["block"]["q_proj"].weight.float()
    merge(of, Adapter({"block.q_proj": (a, b, 0.5)}, {}), "here")
    found = of["block"]["q_proj"].weight
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, (before + 0.5 * (b @ a)).to(torch.bfloat16))


def test_weights_that_were_trained_as_a_whole_replace_those_of_the_base() -> None:
    of, head = model(), torch.arange(8.0).reshape(2, 4)
    merge(of, Adapter({}, {"score.weight": head}), "here")
    assert torch.equal(of["score"].weight, head)


@pytest.mark.parametrize(
    ("deltas", "whole", "said"),
    [
        (
            {"block.o_proj": (*halves(), 1.0)},
            {},
            "it adapts block.o_proj.weight, which the base does not have; did you mean",
        ),
        ({"block.q_proj": (*halves(inputs=5), 1.0)}, {}, "block.q_proj.weight has shape (4, 3), expected (4, 5)"),
        ({"block.q_proj": (*halves(outputs=7), 1.0)}, {}, "block.q_proj.weight has shape (4, 3), expected (7, 3)"),
        (
            {},
            {"score.weight": torch.ones(4, 4)},
            "it is for another base: score.weight has shape (2, 4), expected (4, 4)",
        ),
    ],
)
def test_an_adapter_of_another_base_is_one_line(deltas: Any, whole: Any, said: str) -> None:
    with pytest.raises(SetupError) as error:
        merge(model(), Adapter(deltas, whole), "--judge-args adapter=x")
    assert str(error.value).startswith("--judge-args adapter=x: ")
    assert said in str(error.value)


# --- read


@pytest.mark.parametrize(
    ("config", "scale"),
    [
        ({}, 6 / 2),
        ({"use_rslora": True}, 6 / math.sqrt(2)),
        ({"lora_alpha": 3.5}, 3.5 / 2),
        ({"alpha_pattern": {"q_proj": 10}}, 10 / 2),
        ({"alpha_pattern": {"block.q_proj": 0}}, 0),
        ({"alpha_pattern": {"q": 10, "lock.q_proj": 10, "q_proj.x": 10}}, 6 / 2),
        ({"alpha_pattern": {r".*\.q_proj": 4}, "use_rslora": True}, 4 / math.sqrt(2)),
        ({"r": 99}, 6 / 2),  # the tensors say what the rank is
    ],
)
def test_the_scale_is_alpha_over_the_rank_of_the_layer(tmp_path: Path, config: dict[str, Any], scale: float) -> None:
    found = read_adapter(adapter(tmp_path, **config), "here").deltas["block.q_proj"]
    assert found[2] == pytest.approx(scale)
    assert all(torch.equal(one, other) for one, other in zip(found[:2], halves(), strict=True))


def test_names_of_every_version_of_peft_are_those_of_the_base(tmp_path: Path) -> None:
    a, b = halves()
    tensors = {
        f"{PREFIX}block.q_proj.lora_A.default.weight": a,
        f"{PREFIX}block.q_proj.lora_B.default.weight": b,
        f"{PREFIX}score.modules_to_save.default.weight": torch.ones(2, 4),
        f"{PREFIX}score.original_module.weight": torch.zeros(2, 4),
        f"{PREFIX}block.k_proj.modules_to_save.bias": torch.ones(4),
        "norm.weight": torch.ones(3),
    }
    found = read_adapter(adapter(tmp_path, tensors), "here")
    assert list(found.deltas) == ["block.q_proj"]
    assert {name: tuple(tensor.shape) for name, tensor in found.whole.items()} == {
        "score.weight": (2, 4), "block.k_proj.bias": (4,), "norm.weight": (3,),
    }  # fmt: skip
    assert found.whole["score.weight"].min() == 1, "not the one before the training"


@pytest.mark.parametrize(
    "tensors",
    [
        {f"{PREFIX}x.lora_A.weight": torch.ones(2, 3)},
        {f"{PREFIX}x.lora_B.weight": torch.ones(4, 2)},
        {f"{PREFIX}x.lora_A.weight": torch.ones(2, 3), f"{PREFIX}x.lora_B.weight": torch.ones(4, 3)},
        {f"{PREFIX}x.lora_A.weight": torch.ones(2, 3, 1), f"{PREFIX}x.lora_B.weight": torch.ones(4, 2)},
        {f"{PREFIX}x.lora_A.weight": torch.ones(2, 3), f"{PREFIX}x.lora_B.weight": torch.ones(4, 2, 1)},
    ],
)
def test_halves_that_do_not_fit_together_are_named(tmp_path: Path, tensors: dict[str, Any]) -> None:
    with pytest.raises(
        SetupError, match=r"^here: adapter_model\.safetensors: lora_A and lora_B of x do not fit together$"
    ):
        read_adapter(adapter(tmp_path, tensors), "here")


@pytest.mark.parametrize("key", ["x.lora_magnitude_vector.weight", "x.lora_embedding_A", "x.lora_A.other.weight"])
def test_what_the_formula_does_not_cover_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(
        SetupError, match=rf"adapter_model\.safetensors: {PREFIX}{key} is not supported; merge it with PEFT"
    ):
        read_adapter(adapter(tmp_path, {f"{PREFIX}{key}": torch.ones(2, 2)}), "here")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"peft_type": None}, "peft_type is None; expected 'LORA'"),
        ({"lora_alpha": "16"}, "lora_alpha is '16'; expected a number"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out=True is not supported; merge it with PEFT"),
        ({"bias": "lora_only"}, "bias='lora_only' is not supported; merge it with PEFT"),
        ({"init_lora_weights": "OLoRA"}, "init_lora_weights='OLoRA' is not supported; merge it with PEFT"),
    ],
)
def test_an_adapter_of_another_kind_says_what_it_says(tmp_path: Path, config: dict[str, Any], said: str) -> None:
    with pytest.raises(SetupError) as error:
        read_config(adapter(tmp_path, **config), "here")
    assert str(error.value) == f"here: adapter_config.json: {said}"


@pytest.mark.parametrize("init", [True, False, "gaussian", "eva", None])
def test_beginnings_that_leave_the_base_alone_are_taken(tmp_path: Path, init: object) -> None:
    assert read_config(adapter(tmp_path, init_lora_weights=init), "here")["init_lora_weights"] == init


@pytest.mark.parametrize(("text", "said"), [("{", "cannot be read: "), ("[1]", "peft_type is [1]; expected 'LORA'")])
def test_a_config_that_is_none_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(SetupError) as error:
        read_config(tmp_path, "here")
    assert str(error.value).startswith(f"here: adapter_config.json{'' if 'cannot' in said else ':'} {said}")
    assert "\n" not in str(error.value)


def test_a_folder_without_weights_or_config_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^here: adapter_config\.json cannot be read: "):
        read_adapter(tmp_path, "here")
    (adapter(tmp_path) / "adapter_model.safetensors").unlink()
    assert weights_file(tmp_path) is None
    with pytest.raises(
        SetupError, match=r"^here: no weights; expected adapter_model\.safetensors or adapter_model\.bin$"
    ):
        read_adapter(tmp_path, "here")


def test_safetensors_come_before_pickles(tmp_path: Path) -> None:
    adapter(tmp_path)
    (tmp_path / "adapter_model.bin").write_bytes(b"not read")
    found = weights_file(tmp_path)
    assert found is not None
    assert found.name == "adapter_model.safetensors"
    assert list(read_adapter(tmp_path, "here").deltas) == ["block.q_proj"]


def test_tensors_among_other_things_are_no_state_dict(tmp_path: Path) -> None:
    torch.save({"a": torch.ones(1), "b": 3}, tmp_path / "x.pt")
    with pytest.raises(SetupError, match=r"^here: x\.pt is no state dict: expected names of parameters with tensors$"):
        read_tensors(tmp_path / "x.pt", "here")
    torch.save({"a": torch.ones(1)}, tmp_path / "x.pt")
    assert read_tensors(tmp_path / "x.pt", "here") == {"a": torch.ones(1)}


# --- trained


def trained(of: torch.nn.Module) -> dict[str, Any]:
    return {name: parameter.detach() for name, parameter in of.named_parameters() if parameter.requires_grad}


def test_a_model_begins_as_its_base_and_only_its_adapters_are_trained() -> None:
    of, base, x = model(), model(), torch.randn(5, 3)
    add_lora(of, Shape(rank=2, targets=("q_proj",)))
    assert trained(of).keys() == {"block.q_proj.lora_A", "block.q_proj.lora_B"}
    assert not of["block"]["q_proj"].lora_B.any()
    assert torch.equal(of["block"]["q_proj"](x), base["block"]["q_proj"](x))
    bound = math.sqrt(6 / (1 + 5) / 3)
    assert 0 < of["block"]["q_proj"].lora_A.abs().max() <= bound


@pytest.mark.parametrize(("rank", "alpha"), [(1, 16.0), (2, 3.0), (4, 4.0)])
def test_what_was_trained_beside_the_base_is_what_is_merged_into_it(tmp_path: Path, rank: int, alpha: float) -> None:
    """Written as the judge reads it, and read again."""
    shape = Shape(rank, alpha, 0.5, ("q_proj", "k_proj"))
    of, x = model(), torch.randn(6, 3)
    add_lora(of, shape)
    of.eval()
    with torch.no_grad():
        for parameter in trained(of).values():
            parameter.normal_()
        wanted = [of["block"][name](x) for name in shape.targets]
    (tmp_path / "adapter_config.json").write_text(adapter_config("base", shape, "score"))
    tensors = adapter_tensors(trained(of) | {"score.weight": torch.full((2, 4), 7.0)})
    save_file(tensors, tmp_path / "adapter_model.safetensors")
    merged = model()
    merge(merged, read_adapter(tmp_path, "here"), "here")
    for name, output in zip(shape.targets, wanted, strict=True):
        assert torch.allclose(merged["block"][name](x), output, atol=1e-4)
    assert merged["score"].weight.unique().tolist() == [7.0]


def test_dropout_is_before_the_adapter_and_in_training_alone() -> None:
    of, base, x = model(), model(), torch.ones(1, 3)
    add_lora(of, Shape(rank=2, dropout=0.999999, targets=("q_proj",)))
    torch.nn.init.ones_(of["block"]["q_proj"].lora_B)
    of.train()
    assert torch.equal(of["block"]["q_proj"](x), base["block"]["q_proj"](x)), "all is dropped but the base"
    of.eval()
    assert not torch.equal(of["block"]["q_proj"](x), base["block"]["q_proj"](x))


def test_a_target_that_is_not_there_is_named_and_a_part_of_a_name_is_none() -> None:
    for targets, said in ((("proj",), "proj"), (("o_proj", "block"), "o_proj or block")):
        with pytest.raises(SetupError, match=f"^--targets: the base has no linear layer called {said}$"):
            add_lora(model(), Shape(targets=targets))


def test_the_config_says_what_was_trained() -> None:
    config = json.loads(adapter_config("llama", Shape(4, 8.0, 0.1, ("q_proj", "v_proj")), "score"))
    assert {name: config[name] for name in ("r", "lora_alpha", "lora_dropout", "target_modules")} == {
        "r": 4, "lora_alpha": 8.0, "lora_dropout": 0.1, "target_modules": ["q_proj", "v_proj"],
    }  # fmt: skip
    assert (config["base_model_name_or_path"], config["modules_to_save"], config["peft_type"]) == (
        "llama",
        ["score"],
        "LORA",
    )


def test_names_of_peft_are_those_of_the_model_with_its_prefix() -> None:
    tensors = {"block.q_proj.lora_A": 1, "block.q_proj.lora_B": 2, "score.weight": 3}
    assert adapter_tensors(tensors) == {  # type: ignore[arg-type]
        f"{PREFIX}block.q_proj.lora_A.weight": 1, f"{PREFIX}block.q_proj.lora_B.weight": 2, f"{PREFIX}score.weight": 3,
    }  # fmt: skip
