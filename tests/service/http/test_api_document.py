"""docs/api.md names the whole HTTP contract and nothing else.

Tables are checked against the OpenAPI document, the errors, the response models and a real response. The document's
first table has the requests. The first table under "Parameters" has every query parameter with its bounds, under
"Compare" those that only a comparison has, under "Answer" and "GET /model" the fields, under "PNG" the headers, and
under "Errors" every type with its status.

The first cell of a row names things in backticks; `a.b` and `a[].b` are the fields a and b. Other cells are free text,
except for a parameter's range (third cell), whose numbers and backticked values are its bounds, and an error's status
(second cell).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from service.errors import all_errors
from service.http.explanation_schemas import (
    ClusterMap,
    ExplainedPoint,
    ExplanationResult,
    ExplanationTiming,
    PointAttention,
    TokenGrid,
)
from service.http.model_schemas import ModelCard
from service.http.schemas import (
    Attention,
    AttentionSettings,
    Box,
    Clusters,
    ComparisonResult,
    DetectionResult,
    ImageSize,
    MatchedPair,
    ResizedTo,
    SegmentedDetection,
    TileGrid,
    Timing,
)

DOCUMENT = (Path(__file__).parents[3] / "docs" / "api.md").read_text(encoding="utf-8")
PAGES = {"GET /", "GET /docs", "GET /openapi.json"}


def rows(heading: str | None = None) -> list[list[str]]:
    """Return the cells of the first table below a heading, or of the document's first table."""
    text = DOCUMENT
    if heading is not None:
        start = re.search(rf"^#+ {re.escape(heading)}$", DOCUMENT, re.M)
        assert start is not None, f"docs/api.md has no heading {heading}"
        text = DOCUMENT[start.end() :]
    table = re.search(r"^\|.*?(?=^[^|]|\Z)", text, re.M | re.S)
    assert table is not None
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()[2:] if line]


def names(cells: list[str]) -> list[str]:
    return re.findall(r"`([^`]+)`", " ".join(cells))


def fields(*models: type[BaseModel]) -> set[str]:
    return {name for model in models for name in model.model_fields}


@pytest.fixture(scope="module")
def openapi(service: Any) -> dict[str, Any]:
    document: dict[str, Any] = service.client.get("/openapi.json").json()
    return document


def test_requests_are_complete(openapi: dict[str, Any]) -> None:
    served = {f"{method.upper()} {path}" for path, methods in openapi["paths"].items() for method in methods}
    assert set(names([row[0] for row in rows()])) == served | PAGES


@pytest.mark.parametrize("path", ["/detect", "/detect/batch"])
def test_query_parameters_are_complete_with_their_bounds(openapi: dict[str, Any], path: str) -> None:
    documented = {names(row[:1])[0]: row[2] for row in rows("Parameters")}
    parameters = [row for row in openapi["paths"][path]["post"]["parameters"] if row["in"] == "query"]
    assert set(documented) == {parameter["name"] for parameter in parameters}
    for parameter in parameters:
        schema = parameter["schema"].get("anyOf", [parameter["schema"]])[0]
        bounds = {float(schema[key]) for key in ("minimum", "exclusiveMinimum", "maximum") if key in schema}
        text = documented[parameter["name"]]
        assert {float(number) for number in re.findall(r"[\d.]+", text)} == bounds, parameter["name"]
        assert set(names([text])) == set(schema.get("enum", [])), parameter["name"]


def test_parameters_of_a_comparison_are_complete(openapi: dict[str, Any]) -> None:
    def parameters(path: str) -> set[str]:
        return {row["name"] for row in openapi["paths"][path]["post"]["parameters"] if row["in"] == "query"}

    own = set(names([row[0] for row in rows("Compare")]))
    assert parameters("/compare") == parameters("/detect") - {"attention", "masks", "format", "image_id"} | own


def test_fields_of_a_comparison_are_named() -> None:
    section = DOCUMENT.split("\n## Compare\n")[1].split("\n## ")[0]
    assert fields(ComparisonResult, MatchedPair) <= set(re.findall(r"`(\w+)`", section))


def test_parameters_of_an_explanation_are_complete_with_their_bounds(openapi: dict[str, Any]) -> None:
    parameters = {row["name"]: row["schema"] for row in openapi["paths"]["/explain"]["post"]["parameters"]}
    shared = {"attention", "L", "r", "C", "ratio", "metric", "size", "deadline_ms"}
    documented = {name: row[2] for row in rows("Explain") for name in names(row[:1])}
    assert set(parameters) == set(documented) | shared
    for name, text in documented.items():
        schema = parameters[name].get("anyOf", [parameters[name]])[0]
        assert {float(number) for number in re.findall(r"\d+", text)} == {
            float(schema[key]) for key in ("minimum", "maximum") if key in schema
        }
        assert names([text]) == schema.get("enum", [])


def test_fields_and_headers_of_an_explanation_are_named(service: Any, png: bytes) -> None:
    section = DOCUMENT.split("\n## Explain\n")[1].split("\n## ")[0]
    named = set(re.findall(r"`([\w.]+)`", section))
    nested = {"clusters": ClusterMap, "attention_map": PointAttention}
    assert fields(ExplanationResult, TokenGrid, ExplainedPoint, AttentionSettings, ExplanationTiming) <= named
    assert {f"{name}.{field}" for name, model in nested.items() for field in fields(model)} <= named
    answer = service.client.post("/explain?attention=act", content=png, headers={"accept": "image/png"})
    sent = {name for name in answer.headers if name.startswith("x-act-detr-")}
    assert set(names([row[0] for row in rows("Explain as PNG")])) == sent


def test_fields_of_the_answer_are_complete() -> None:
    table = rows("Answer")
    documented = {part.removesuffix("[]") for name in names([row[0] for row in table]) for part in name.split(".")}
    nested = {name for name in names([row[2] for row in table]) if "." not in name}
    objects = (DetectionResult, SegmentedDetection, Box, ImageSize, ResizedTo, TileGrid, Attention, Clusters, Timing)
    every = fields(*objects)
    assert documented <= every
    assert every <= documented | nested


def test_fields_of_the_model_card_are_complete() -> None:
    assert set(names([row[0] for row in rows("GET /model")])) == fields(ModelCard)


def test_headers_of_a_png_are_complete(service: Any, png: bytes) -> None:
    answer = service.client.post("/detect?attention=act", content=png, headers={"accept": "image/png"})
    sent = {name for name in answer.headers if name.startswith("x-act-detr-")}
    of_the_ladder = {"x-act-detr-rung"}  # sent with a target: test_degradation.py
    assert set(names([row[0] for row in rows("PNG")])) == sent | of_the_ladder


def test_errors_are_complete_with_their_status() -> None:
    documented = {names(row[:1])[0]: int(row[1]) for row in rows("Errors")}
    assert documented == {error.type: error.status for error in all_errors()}
