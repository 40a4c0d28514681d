from pathlib import Path

from flowercolor import paths
from flowercolor.data.oxford102 import Archive
from tests.cli.helpers import Site, assert_one_line_of_error, flowercolor, succeed


def test_download_refuses_what_is_not_the_archive(archive: Path) -> None:
    result = flowercolor("download", "--from-file", archive)
    assert_one_line_of_error(result, str(archive), "8,189 published photos", "train --data")
    assert not paths.archive_path().exists()


def test_download_is_told_where_from_and_to_fetch_again(published: Archive, site: Site) -> None:
    [there] = site.folder.glob("*.tgz")
    there.rename(site.folder / "mirror.tgz")
    assert_one_line_of_error(flowercolor("download"), published.url, "404")
    mirror = f"{site.url}/mirror.tgz"
    assert succeed("download", "--url", mirror).stderr.startswith("Downloaded: ")
    assert succeed("download", "--url", mirror).stderr.startswith("Already there: ")
    assert succeed("download", "--url", mirror, "--force").stderr.startswith("Downloaded: ")
