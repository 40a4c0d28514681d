"""What `colorize` is asked to color, and where the results go."""

import glob
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from flowercolor.cli import console
from flowercolor.errors import SettingError, StorageError
from flowercolor.files import is_folder, is_there, may_be_written, names_stream, what_is_missing

if TYPE_CHECKING:
    from flowercolor.inference.planning import Job
    from flowercolor.progress import Progress


@dataclass(frozen=True)
class Request:
    """The arguments of `colorize` whose meaning hangs on each other.

    Attributes:
        photos: PHOTO…, of which "-" is standard input.
        output: -o, of which "-" is standard output; None is beside the photos.
        file_format: --format.
        sheet: Whether --variants asks for a sheet of one photo.
    """

    photos: Sequence[str]
    output: str | None
    file_format: str | None
    sheet: bool

    @property
    def from_stdin(self) -> bool:
        """Whether the photo comes by standard input."""
        return list(self.photos) == ["-"]

    @property
    def by_stream(self) -> bool:
        """Whether the photo comes, or its result goes, by a stream: it is one of each then."""
        return "-" in (*self.photos, self.output)

    @property
    def path(self) -> Path | None:
        """What -o names: a file or a folder."""
        return None if self.output in (None, "-") else Path(str(self.output))

    @cached_property
    def file(self) -> Path | None:
        """What -o names, where it is a file: of a format to be written, and no folder."""
        from flowercolor.photos.formats import WRITABLE

        is_file = self.path and not self._into_folder and self.path.suffix.lower() in WRITABLE
        return self.path if is_file else None

    @cached_property
    def stream_format(self) -> str | None:
        """The format of what is made by a stream, such as "PNG"; None keeps the photo's own.

        Raises:
            SettingError: It is none that can be written.
        """
        from flowercolor.photos.formats import output_format

        named = Path(f"photo{self._ending}") if self._ending else self.path
        return output_format(named) if named else None

    def formats(self, jobs: "Sequence[Job]") -> set[str]:
        """The formats that will be written; empty where the photo tells, once it is read."""
        from flowercolor.photos.formats import WRITABLE

        if self.sheet:
            return {WRITABLE[self.file.suffix.lower()] if self.file else "PNG"}
        if self.by_stream and self.stream_format:
            return {self.stream_format}
        return {WRITABLE[job.target.suffix.lower()] for job in jobs}

    @property
    def _into_folder(self) -> bool:
        slash = str(self.output).endswith(("/", os.sep))
        return slash or (self.path is not None and is_folder(self.path))

    @property
    def _ending(self) -> str | None:
        return f".{self.file_format}" if self.file_format else None

    def check(self, *, keep_date: bool, json_lines: bool) -> None:
        """Refuse arguments of which each is good and some do not go together.

        Raises:
            SettingError: They do not.
        """
        from flowercolor.photos.formats import WRITABLE

        ending = self._ending
        for clash, message in (
            (
                "-" in self.photos and not self.from_stdin,
                "- (standard input) goes alone; leave out the other photos",
            ),
            (
                self.file and ending and WRITABLE[self.file.suffix.lower()] != WRITABLE[ending],
                f"-o {self.file}: is no {self.file_format}; leave out --format, or rename it",
            ),
            (
                self.by_stream and self.sheet,
                "--variants takes a photo by its path and writes a file; leave out -",
            ),
            (
                self.by_stream and (keep_date or json_lines),
                f"{'--keep-date' if keep_date else '--json'} is for photos by their paths, into "
                "files; leave out - or it",
            ),
            (
                self.sheet and (json_lines or keep_date or ending),
                "--variants writes one sheet; leave out --json, --keep-date and --format, or it",
            ),
            (
                self.by_stream and self._into_folder,
                f"-o {self.output}: is a folder; name a file for what comes by standard input",
            ),
            (
                self.from_stdin and sys.stdin.isatty(),
                "standard input is this terminal; expected a photo: name its file, or lead it here "
                "by < or |",
            ),
            (
                self.by_stream and not self.path and sys.stdout.isatty(),
                "standard output is this terminal, and a picture is no text; name a file by -o, or "
                "lead it elsewhere by > or |",
            ),
            (
                self.path and names_stream(self.path),
                f"-o {self.path}: is a stream; expected a file or a folder, or - for standard "
                "output",
            ),
            (
                self.from_stdin and self.path and console.is_stdin(self.path),
                f"-o {self.path}: is the photo itself; choose another output",
            ),
        ):
            if clash:
                raise SettingError(message)

    def _check_words(self) -> None:
        """Refuse names that are meant otherwise than as photos, before any is colored.

        Raises:
            SettingError: They are one name without its quotes, or the second is the result's.
        """
        from flowercolor.photos.formats import WRITABLE

        *before, last = self.photos
        if not before or is_there(last):
            return
        joined = " ".join(self.photos)
        if is_there(joined):
            raise SettingError(
                f"{', '.join(self.photos)}: there are no such files or folders; put a name with "
                f"spaces in quotes: {console.command_line(joined)}"
            )
        is_result = Path(last).suffix.lower() in WRITABLE and not glob.has_magic(last)
        if is_result and len(before) == 1 and self.output is None and is_there(before[0]):
            raise SettingError(
                f"{last}: {what_is_missing(last)}; to name the result, put -o before it"
            )

    def find(self, exclude: Sequence[str], progress: "Progress", *, recursive: bool) -> "list[Job]":
        """The photos and their targets; of standard input none.

        Raises:
            SettingError: There are none, or several where one is wanted.
            StorageError: None of several results can be written where it is to go.
        """
        from flowercolor.inference.planning import plan
        from flowercolor.photos.formats import SUFFIXES

        if self.from_stdin:
            return []
        inputs = list(self.photos)
        self._check_words()
        # A sheet is one file, also of a folder's one photo.
        output = None if self.output == "-" or (self.sheet and self.file) else self.output
        jobs = plan(
            inputs,
            output,
            recursive=recursive,
            exclude=exclude,
            ending=self._ending,
            for_sheet=self.sheet,
            progress=progress,
        )
        if not jobs:
            below = " or below" if recursive else ""
            reason = f"no pictures there{below}; expected {', '.join(sorted(SUFFIXES))} files"
            if exclude and (left_out := len(plan(inputs, output, recursive=recursive))):
                reason = (
                    f"--exclude leaves out all pictures there{below}, {left_out}; expected "
                    "patterns that leave some"
                )
            raise SettingError(f"{', '.join(inputs)}: {reason}")
        if len(jobs) > 1 and (self.sheet or self.output == "-"):
            option = "--variants" if self.sheet else "-o - (standard output)"
            raise SettingError(
                f"{option} takes one photo; {len(jobs)} were given; name one of them"
            )
        folders = {job.target.parent for job in jobs if not is_there(job.target)}
        if len(jobs) > 1 and folders and not any(map(may_be_written, folders)):
            raise StorageError(
                f"{min(folders)}: cannot be written: writing there is not allowed; choose another "
                "place by -o"
            )
        return jobs
