"""Published data sets fetched from the Hugging Face hub, with the user's token, at one revision."""

from __future__ import annotations

import re
from pathlib import Path

from pytest_mmsafety.errors import MmsafetyError

REPOSITORIES = {"usb": "cgjacklin/USB", "mllmguard": "Carol0110/MLLMGuard"}
"""``--data`` name -> repository of the data set. Both are gated."""
NOTE = "mmsafety-revision.txt"
"""Beside the data: which revision they are, for the next download and for people."""


def install_data(name: str, folder: Path, revision: str | None) -> str:
    """Download the data set *name* into *folder* and return the commit that it is.

    Without *revision* it is the one noted in *folder* by an earlier download, else the newest; whichever it is, it
    is resolved to a commit first, so that all files are of one state. Raises :class:`MmsafetyError`.
    """
    try:
        import huggingface_hub as hub
        from huggingface_hub import errors
    except ImportError:
        raise MmsafetyError(f"install {name}: needs huggingface_hub: pip install huggingface_hub") from None
    repository = REPOSITORIES[name]
    where = f"install {name}: {repository}"
    wanted = revision or _noted(folder, repository)
    try:
        commit = hub.HfApi().dataset_info(repository, revision=wanted).sha or "unknown"
        hub.snapshot_download(repository, repo_type="dataset", revision=commit, local_dir=folder)
    except errors.GatedRepoError:
        raise MmsafetyError(
            f"{where} is gated: ask for access on its page ({hub.constants.ENDPOINT}/datasets/{repository}), then run "
            "`hf auth login` or set HF_TOKEN, and try again"
        ) from None
    except errors.RevisionNotFoundError:
        raise MmsafetyError(f"{where} has no revision {wanted!r}") from None
    except errors.RepositoryNotFoundError:
        raise MmsafetyError(
            f"{where} is not found; gated sets look like that without a token: run `hf auth login` or set HF_TOKEN"
        ) from None
    except Exception as error:  # noqa: BLE001 - the hub's client passes on whatever its HTTP library raises
        raise MmsafetyError(f"{where}: the hub cannot be reached: {_first_line(error)}") from None
    (folder / NOTE).write_text(f"{repository} {commit}\n", "utf-8")
    return commit


def _noted(folder: Path, repository: str) -> str | None:
    try:
        found = re.fullmatch(rf"{re.escape(repository)} ([0-9a-f]{{7,40}})\s*", (folder / NOTE).read_text("utf-8"))
    except (OSError, UnicodeDecodeError):
        return None
    return found[1] if found else None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
