"""One HTML file of figures, columns, style, scripts and drawings, with a policy that forbids every connection.

Knows: the template, the policy, where the parts lie. Does not know: where figures come from.

The policy names the style and the two scripts by their hashes; nothing else may run, load or send. Vega would compile
its expressions to functions, which needs `unsafe-eval`: its interpreter runs them instead.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from flows.page.text import script_json

_SCRIPTS = ("data", "theme", "tables", "charts", "heatmap", "task", "adapters", "start")
_ASSETS = files("flows.page").joinpath("assets")


def render(content: Mapping[str, Any], drawn: Mapping[str, Any]) -> str:
    """The page.

    Args:
        content: what the template shows.
        drawn: JSON values for the script; the specifications of the charts are added.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("flows.page", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"thousandths": thousandths, "signed": signed, "moment": moment}
    style, library, script = _asset("page.css"), _library(), _script()
    return environment.get_template("page.html.j2").render(
        **content,
        policy=_policy(style, (library, script)),
        style=style,
        library=library,
        script=script,
        drawn=script_json({**drawn, "charts": _charts()}),
    )


def thousandths(value: int | None) -> str:
    """`885` as `0.885`."""
    return "–" if value is None else f"{value / 1000:.3f}"


def signed(value: int | None) -> str:
    """`885` as `+0.885`."""
    return "–" if value is None else f"{value / 1000:+.3f}"


def moment(value: Any) -> str:
    """A time in UTC, to the minute."""
    return "–" if value is None else f"{value:%Y-%m-%d %H:%M}"


def _policy(style: str, scripts: tuple[str, ...]) -> str:
    allowed = " ".join(_hash(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _asset(name: str) -> str:
    return _ASSETS.joinpath(name).read_text(encoding="utf-8")


def _script() -> str:
    parts = "\n".join(_asset(f"{name}.js") for name in _SCRIPTS)
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _charts() -> dict[str, Any]:
    folder = files("flows.page").joinpath("charts")
    named = sorted((entry.name, entry.read_text(encoding="utf-8")) for entry in folder.iterdir())
    return {name.removesuffix(".json"): json.loads(text) for name, text in named if name.endswith(".json")}


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    library: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return library.replace("</script", "<\\/script").replace("<!--", "<\\!--")
