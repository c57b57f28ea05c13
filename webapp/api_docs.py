"""The API's reference page, generated from its schema, without scripts or external files."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

_STYLE: Final = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 52rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #8886; padding: 1rem 0; }
code, pre { font: 14px/1.45 ui-monospace, Consolas, monospace; }
pre { overflow-x: auto; background: #8881; padding: .75rem; border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; }
td { border-top: 1px solid #8883; }
"""
_EXAMPLES: Final = {
    "post /photo": [
        "curl -F photo=@photo.jpg {api}/photo",
        "curl --data-binary @photo.jpg {api}/photo",
        "curl -F photo=@class.jpg {api}/photo?thorough=true",
    ],
    "post /video": [
        "curl -F video=@clip.mp4 {api}/video",
        "curl --data-binary @clip.mp4 {api}/video?every_s=0.5",
    ],
    "get /video/{key}": ["curl {api}/video/ID"],
    "delete /video/{key}": ["curl -X DELETE {api}/video/ID"],
}


def docs_page(
    schema: Mapping[str, Any], limits: Sequence[str], api: str = "http://127.0.0.1:7860/api"
) -> str:
    """Return the page as HTML.

    Args:
        schema: An OpenAPI document.
        limits: Limits of the API, one per sentence.
        api: Base URL for the examples.
    """
    info = schema["info"]
    sections = [
        _operation(method, path, operation, api)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
    ]
    records = [
        f"<h3 id='{escape(name)}'>{escape(name)}</h3>"
        f"<p>{escape(each.get('description', ''))}</p>{_fields(each)}"
        for name, each in schema["components"]["schemas"].items()
        if "properties" in each and "Validation" not in name
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>API · {escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}: API</h1>"
        f"<p>{escape(info.get('description', '')).replace('`', '')}</p>"
        "<p>For programs: <a href='openapi.json'>openapi.json</a>.</p>"
        f"<ul>{''.join(f'<li>{escape(limit)}</li>' for limit in limits)}</ul>"
        f"{''.join(sections)}<section><h2>Records</h2>{''.join(records)}</section></body></html>"
    )


def _operation(method: str, path: str, operation: Mapping[str, Any], api: str) -> str:
    examples = "\n".join(line.format(api=api) for line in _EXAMPLES.get(f"{method} {path}", ()))
    parameters = "".join(
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td>"
        f"<td>{escape(each.get('description', ''))}</td></tr>"
        for each in operation.get("parameters", ())
    )
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>{_kind(_content(answer))}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    return (
        f"<section><h2><code>{method.upper()} /api{escape(path)}</code></h2>"
        f"<p><strong>{escape(operation['summary'])}.</strong> {escape(operation.get('description', ''))}</p>"
        f"<pre>{escape(examples)}</pre>"
        + (
            f"<table><tr><th>Parameter</th><th>In</th><th></th></tr>{parameters}</table>"
            if parameters
            else ""
        )
        + f"<table><tr><th>Status</th><th></th><th>Answer</th></tr>{answers}</table></section>"
    )


def _content(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    schema: Mapping[str, Any] = answer.get("content", {}).get("application/json", {}).get("schema", {})
    return schema


def _fields(record: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{_kind(each)}</td></tr>"
        for name, each in record["properties"].items()
    )
    return f"<table>{rows}</table>"


def _kind(field: Mapping[str, Any]) -> str:
    """Return the type of a field in words, with a link if it is a record."""
    if "$ref" in field:
        name = escape(field["$ref"].rsplit("/", 1)[-1])
        return f"<a href='#{name}'>{name}</a>"
    if "anyOf" in field:
        return " or ".join(_kind(each) for each in field["anyOf"])
    if "enum" in field:
        return escape(" | ".join(json.dumps(each) for each in field["enum"]))
    if field.get("type") == "array":
        return (
            f"list of {_kind(field['items'])}" if "items" in field else f"{len(field['prefixItems'])} numbers"
        )
    return escape(str(field.get("type", "")))
