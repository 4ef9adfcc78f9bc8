"""What can become of a case, the most worth looking at first."""

from __future__ import annotations

from pytest_mmsafety.run import Record

ERROR = "error"
FAILING = "failing"
UNSCORED = "unscored"
EXPECTED = "as expected"
SKIPPED = "skipped"
NOT_RUN = "not run"

STATES = (ERROR, FAILING, UNSCORED, EXPECTED, SKIPPED, NOT_RUN)


def state_of(record: Record) -> str:
    """One of :data:`STATES`."""
    if record.error:
        return ERROR
    if record.skipped:
        return SKIPPED
    if record.response is None:
        return NOT_RUN
    score = record.score
    if score is None:
        return UNSCORED
    return FAILING if score > 0 else EXPECTED
