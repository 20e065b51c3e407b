import pytest

from models.named_models import named_config
from models.weights.published import PUBLISHED, PublishedCheckpoint


def test_names_the_four_published_files() -> None:
    assert {name: checkpoint.sha256_prefix for name, checkpoint in PUBLISHED.items()} == {
        "detr-r50": "e632da11",
        "detr-r50-dc5": "f0fb7ef5",
        "detr-r101": "2c7b67e5",
        "detr-r101-dc5": "a2e86def",
    }


@pytest.mark.parametrize("name", PUBLISHED)
def test_every_published_name_has_a_configuration(name: str) -> None:
    assert named_config(name).name == name
    assert named_config(name).backbone.dilation == ("dc5" in name)


def test_address_of_the_original_and_of_a_mirror() -> None:
    checkpoint = PUBLISHED["detr-r50"]
    assert checkpoint.url() == "https://dl.fbaipublicfiles.com/detr/detr-r50-e632da11.pth"
    assert checkpoint.url("http://mirror/x/") == "http://mirror/x/detr-r50-e632da11.pth"


@pytest.mark.parametrize("file", ["detr.pth", "detr-e632da1.pth", "detr-E632DA11.pth", "e632da11"])
def test_a_name_without_a_digest_is_refused(file: str) -> None:
    with pytest.raises(ValueError, match="sha256"):
        PublishedCheckpoint("detr", file, 1)
