"""What produced a run, as far as it may be written down: run files travel, secrets and paths must not."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_SECRET = re.compile("(^|[_-])(api_?key|key|token|secret|password|credentials?)$", re.IGNORECASE)
_USER_OF_URL = re.compile(r"(?<=://)[^/@\s]+(?=@)")
_LIBRARIES = ("torch", "transformers", "pillow", "pytest")


def public_arguments(arguments: Mapping[str, str]) -> dict[str, str]:
    """Arguments as they may be written down: secrets are not."""
    return {
        name: "***" if _SECRET.search(name) else _USER_OF_URL.sub("***", value) for name, value in arguments.items()
    }


def model_name(model: str) -> str:
    """A run file travels: of a path only the last part is kept."""
    return Path(model).name if Path(model).exists() else model


def environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": f"{platform.system()} {platform.machine()}"}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
