"""Images in the forms that users have them."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image as Pillow

from linkspan.errors import ConfigurationError
from linkspan.media import image_from_base64, image_from_bytes, image_from_url, sniff_media_type


def encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (2, 2), "red").save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "media_type"),
    [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp"), ("GIF", "image/gif"), ("BMP", "image/bmp")],
)
def test_the_type_is_read_from_the_bytes(kind: str, media_type: str) -> None:
    data = encoded(kind)
    assert sniff_media_type(data) == media_type
    assert image_from_bytes(data).media_type == media_type
    # A wrong declaration does not win over the bytes.
    assert image_from_base64(base64.b64encode(data).decode(), "image/x-wrong").media_type == media_type
    url = f"data:image/x-wrong;base64,{base64.b64encode(data).decode()}"
    image = image_from_url(url, detail="high")
    assert (image.media_type, image.detail) == (media_type, "high")
    assert base64.b64decode(image.base64) == data


def test_an_address_is_passed_on_as_it_is() -> None:
    assert image_from_url("https://x.test/a?b=c").url == "https://x.test/a?b=c"


@pytest.mark.parametrize("url", ["ftp://x.test/a", "picture.png", "data:image/png,abc", "https://", ""])
def test_what_is_no_image_address_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="URL"):
        image_from_url(url)


def test_unknown_bytes_need_a_type() -> None:
    with pytest.raises(ConfigurationError, match="Unknown image type"):
        image_from_bytes(b"what is this")
    assert image_from_base64(base64.b64encode(b"what is this").decode(), "image/jxl").media_type == "image/jxl"


def test_empty_and_broken_images_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="empty"):
        image_from_bytes(b"")
    with pytest.raises(ConfigurationError, match="not base64"):
        image_from_base64("§§§", "image/png")


def test_data_that_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="base64 text, not bytes"):
        image_from_base64(encoded("PNG"), None)  # type: ignore[arg-type]  # as users have it
    with pytest.raises(ConfigurationError, match="URL must be text, not int"):
        image_from_url(5)  # type: ignore[arg-type]  # as above
