"""The page as one HTML text that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pytest_mmsafety.errors import plural
from pytest_mmsafety.report import benchmarks, gates, tables, text
from pytest_mmsafety.report.page import Page
from pytest_mmsafety.report.states import STATES


def render(page: Page) -> str:
    script = _asset("report.js")
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            page=page,
            run=page.run,
            script=Markup(script),  # noqa: S704 - shipped with the package
            style=Markup(_asset("report.css")),  # noqa: S704 - shipped with the package
            policy=content_security_policy(script),
        )
    )


def content_security_policy(script: str) -> str:
    """Nothing may be fetched, and no script but *script* may run."""
    hashed = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{hashed}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _environment() -> Environment:
    def finalize(value: object) -> object:
        """Jinja2 passes every printed value through here before it escapes it, so that none is forgotten."""
        return text.visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value

    environment = Environment(
        loader=PackageLoader("pytest_mmsafety.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        FEW=tables.FEW,
        GATE_ICONS=gates.ICONS,
        LONG=benchmarks.LONG,
        MAX_QUIET=tables.MAX_QUIET,
        STATES=STATES,
        trouble=gates.trouble,
    )
    environment.filters.update(
        count=text.count,
        first_upper=text.first_upper,
        percent=text.percent,
        plural=plural,
        short=text.short,
        whole_percent=text.whole_percent,
    )
    return environment


def _asset(name: str) -> str:
    return resources.files("pytest_mmsafety.report").joinpath("assets", name).read_text(encoding="utf-8")
