"""Importing torch so that a busy machine does not cripple it."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any


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
