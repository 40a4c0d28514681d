from pathlib import Path
from typing import Any

import pytest

from flowercolor import paths
from flowercolor.data.oxford102 import Downloaded
from tests.cli.helpers import assert_one_line_of_error, flowercolor, succeed


def test_download_refuses_what_is_not_the_archive(archive: Path) -> None:
    result = flowercolor("download", "--from-file", archive)
    assert_one_line_of_error(result, str(archive), "8,189 published photos", "train --data")
    assert not paths.archive_path().exists()


def test_download_is_told_where_from_and_to_fetch_again(
    archive: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {}

    def watched(**options: Any) -> Downloaded:
        told.update(options)
        return Downloaded(archive, False, "md5", 1)

    monkeypatch.setattr("flowercolor.data.oxford102.download_archive", watched)
    succeed("download", "--url", "http://127.0.0.1:9/x.tgz", "--force")
    assert (told["url"], told["force"]) == ("http://127.0.0.1:9/x.tgz", True)
