"""Importing torch so that a busy machine does not cripple it."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from pytest_mmsafety.errors import SetupError


def import_torch() -> Any:
    """Import torch, with CPU threads that sleep while they wait for each other. Raises ``ImportError``.

    By default they spin, and as soon as another process wants one of the cores, generation on the CPU takes
    ten times as long. The OpenMP library of torch looks at the variable only when it is loaded.
    """
    ours = "torch" not in sys.modules and "OMP_WAIT_POLICY" not in os.environ
    if ours:
        os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    try:
        return importlib.import_module("torch")
    finally:
        if ours:
            del os.environ["OMP_WAIT_POLICY"]


def choose_device(torch: Any, wanted: str, option: str = "--model-args") -> str:
    """What *wanted* (``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``) means here. Raises :class:`SetupError`."""
    has_mps = torch.backends.mps.is_available()
    if wanted == "auto" and torch.cuda.is_available():
        # One device a worker: gw0 takes the first, gw1 the second, and so on around.
        worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
        return f"cuda:{int(worker) % torch.cuda.device_count()}" if worker.isdecimal() else "cuda"
    if wanted == "auto":
        return "mps" if has_mps else "cpu"
    kind, _, number = wanted.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise SetupError(f"{option} device={wanted}: torch sees {torch.cuda.device_count()} CUDA devices")
    if kind == "mps" and not has_mps:
        raise SetupError(f"{option} device={wanted}: torch sees no MPS device")
    return wanted
