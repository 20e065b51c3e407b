"""Label Studio's pre-annotations: predictions that a person corrects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from xml.sax.saxutils import quoteattr

from typing_extensions import TypedDict  # pydantic takes that of typing from Python 3.12 on only

RegionType = Literal["rectanglelabels", "polygonlabels"]
FROM_NAME: Final = "label"
"""Name of the tag with the labels in the project's labelling interface, as in Label Studio's own templates."""
TO_NAME: Final = "image"
"""Name of its image's tag."""
_TAGS: Final[dict[RegionType, str]] = {"rectanglelabels": "RectangleLabels", "polygonlabels": "PolygonLabels"}
_DECIMALS: Final = 4
"""Of a percentage: a hundredth of a pixel of an image of 10 000."""


class LabelStudioRegion(TypedDict):
    """One object. `value` has a rectangle's `x`, `y`, `width`, `height`, or a polygon's `points`, in percent.

    They are percents of the image's sides, `original_width` and `original_height` in pixels of the upright image.
    """

    id: str
    type: RegionType
    from_name: str
    to_name: str
    original_width: int
    original_height: int
    image_rotation: int
    value: dict[str, Any]
    score: float


class LabelStudioPrediction(TypedDict):
    """The regions of one image; `score` in 0..1 is the mean of theirs, 0 without any."""

    model_version: str
    score: float
    result: list[LabelStudioRegion]


class LabelStudioTask(TypedDict):
    """One image as Label Studio imports it: `data.image` is its address, as the annotator's browser loads it."""

    data: dict[str, str]
    predictions: list[LabelStudioPrediction]


def label_studio_prediction(answer: Mapping[str, Any]) -> LabelStudioPrediction:
    """Convert an answer of `/detect`, best detection first.

    Detections with polygons become a polygon for each part of their mask, others a rectangle. Raises ValueError for
    masks as runs: Label Studio's brush has an encoding of its own.
    """
    scores = [detection["score"] for detection in answer["detections"]]
    return LabelStudioPrediction(
        model_version=answer["model"],
        score=round(sum(scores) / len(scores), 4) if scores else 0.0,
        result=list(_regions(answer)),
    )


def label_studio_task(answer: Mapping[str, Any], image: str) -> LabelStudioTask:
    """Convert an answer of `/detect` to a task of the image at an address. Raises as `label_studio_prediction`."""
    return LabelStudioTask(data={"image": image}, predictions=[label_studio_prediction(answer)])


def labelling_interface(labels: Sequence[str], regions: RegionType = "rectanglelabels") -> str:
    """Return the XML of a project's labelling interface that takes predictions of these classes."""
    tag = _TAGS[regions]
    rows = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in labels)
    return (
        f'<View>\n  <Image name="{TO_NAME}" value="$image"/>\n'
        f'  <{tag} name="{FROM_NAME}" toName="{TO_NAME}">\n{rows}  </{tag}>\n</View>'
    )


def _regions(answer: Mapping[str, Any]) -> Iterator[LabelStudioRegion]:
    width, height = answer["image"]["width"], answer["image"]["height"]
    for index, detection in enumerate(answer["detections"]):
        for part, (kind, shape) in enumerate(_shapes(detection, width, height)):
            yield LabelStudioRegion(
                id=f"{index}-{part}",
                type=kind,
                from_name=FROM_NAME,
                to_name=TO_NAME,
                original_width=width,
                original_height=height,
                image_rotation=0,
                value=shape | {kind: [detection["label"]]},
                score=detection["score"],
            )


def _shapes(detection: Mapping[str, Any], width: int, height: int) -> Iterator[tuple[RegionType, dict[str, Any]]]:
    """Yield the shapes of one detection."""
    polygons = detection.get("segmentation")
    if isinstance(polygons, Mapping):
        raise ValueError("Label Studio takes masks as polygons, not as runs")
    if polygons is None:
        box = detection["box"]
        yield (
            "rectanglelabels",
            {
                "x": _percent(box["xmin"], width),
                "y": _percent(box["ymin"], height),
                "width": _percent(box["xmax"] - box["xmin"], width),
                "height": _percent(box["ymax"] - box["ymin"], height),
                "rotation": 0,
            },
        )
        return
    for polygon in polygons:
        points = zip(polygon[::2], polygon[1::2], strict=True)
        yield "polygonlabels", {"points": [[_percent(x, width), _percent(y, height)] for x, y in points]}


def _percent(pixels: float, side: int) -> float:
    return round(100 * pixels / side, _DECIMALS)
