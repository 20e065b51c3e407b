from __future__ import annotations

from collections.abc import Callable

import pytest

from service.images.jpeg_scans import count_scans

Encode = Callable[..., bytes]


def test_encoders_make_few_scans(encoded: Encode) -> None:
    assert count_scans(encoded(kind="JPEG")) == 1
    assert count_scans(encoded(kind="JPEG", progressive=True)) == 10
    assert count_scans(encoded(kind="JPEG", restart_marker_rows=1)) == 1


def test_every_scan_counts(encoded: Encode) -> None:
    image = encoded(kind="JPEG", progressive=True)
    scan = image[image.rfind(b"\xff\xda") : -2]
    assert count_scans(image[:-2] + 30 * scan + image[-2:]) == 40
    assert count_scans(image[:-2] + 30 * scan) == 40  # without an end, too


def test_scans_of_thumbnails_and_after_the_image_do_not_count(encoded: Encode) -> None:
    image = encoded(kind="JPEG", size=(600, 400))
    thumbnail = b"\xff\xe1" + (2 + len(b"\xff\xda" * 9)).to_bytes(2, "big") + b"\xff\xda" * 9
    assert count_scans(image[:2] + thumbnail + image[2:] + b"\xff\xda" * 500) == 1


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xda", b"GIF89a\xff\xda"])
def test_what_is_no_image_has_none_or_is_cut_off(data: bytes) -> None:
    assert count_scans(data) == data.count(b"\xff\xda") * data.startswith(b"\xff\xd8")
