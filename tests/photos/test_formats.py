from pathlib import Path

import pytest

from flowercolor.errors import SettingError
from flowercolor.photos.formats import is_picture, output_format


def test_an_ending_that_cannot_be_written_is_refused_with_those_that_can() -> None:
    assert output_format(Path("A.JPG")) == "JPEG"
    assert output_format(Path("a.b.tif")) == "TIFF"
    for name in ("a.gif", "a", "a.xcf"):
        with pytest.raises(SettingError, match=rf"^{name}: .*\.jpg, .*\.png"):
            output_format(Path(name))


def test_pictures_are_told_by_their_ending() -> None:
    names = ["a.jpg", "B.JPEG", "c.d.Tiff", "x.heic", ".hidden.jpg", "._a.jpg", "a.txt", "jpg"]
    assert [name for name in names if is_picture(Path(name))] == names[:4]
