"""What students hand in, as it arrives: whose a file is, which of several counts, and opening it.

The one idea: a submission is a folder, a zip file, or lessons' files, by names that a learning platform gave them. It
becomes a folder in which the lessons can be found, and nothing that it holds is written anywhere else.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ..storage import WINDOWS, temporary_folder
from .feedback import one_line
from .submissions import LARGEST, files_below, find, largest, lesson_named, passed_over

FOLDERS = "tinyadv-grade-"
MEMBERS, UNPACKED = 2000, 64 * LARGEST  # lessons in a zip file that are looked at, and bytes that they may have
ZIPS = 20  # in a folder
LONGEST = 150  # bytes of a name: systems take 255, and it gets longer while its file is written
# What learning platforms call the files that they hand out, with the numbers that they want back
_MOODLE = re.compile(r"(?P<name>.+?)_(?P<id>\d+)_assignsubmission_(?P<kind>file|onlinetext)_?(?P<given>.*)", re.DOTALL)
_CANVAS = re.compile(r"(?P<name>[^_]+)(?P<late>_LATE)?_(?P<id>\d+)_(?P<number>\d+)_(?P<given>.*)", re.DOTALL)
# Names that Windows keeps for devices, whatever their ending, and characters that it has in no name
_DEVICE = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\..*)?", re.IGNORECASE)
_UNKNOWN_TO_WINDOWS = re.compile(r'[<>:"|?*\x00-\x1f]|[. ]+$')


class Upload(NamedTuple):
    """One file or folder that was handed in, and what its name tells.

    Attributes
    ----------
    id : str
        The number that the learning platform gave the student (Canvas) or the submission (Moodle); "" without one.
    given : str
        What the student called it.
    number : int
        Canvas's of the file: what was handed in later has a larger one. 0 without one.
    """

    path: Path
    name: str
    id: str = ""
    given: str = ""
    number: int = 0
    late: bool = False
    typed: bool = False  # a text that was typed into Moodle's form

    @property
    def lesson(self) -> int | None:
        """The lesson that this file has; None if it is a folder, a zip file or something else."""
        return lesson_named(self.given) if self.path.is_file() else None

    @property
    def gradable(self) -> bool:
        """Whether it is something that lessons can be in."""
        archive = self.path.is_dir() or self.path.suffix.lower() == ".zip"
        return not self.typed and (archive or self.lesson is not None)


@dataclass(frozen=True)
class Student:
    """Who handed something in, as far as the names of files and folders tell, and what of it is graded.

    Attributes
    ----------
    id : str
        The number that the learning platform gave the student (Canvas) or the submission (Moodle); "" without one.
    more : tuple of Path
        Files that are graded together with `path`: each is a lesson.
    problem : str
        Why nothing of it can be graded, with names only, since the student reads it; "" where it can be.
    note : str
        What a teacher should know of the choice, with paths; "" where there was none.
    """

    name: str
    id: str
    path: Path
    late: bool = False
    more: tuple[Path, ...] = ()
    problem: str = ""
    note: str = ""

    @property
    def file_name(self) -> str:
        """What this student's files are called, without an ending."""
        name = f"{self.name}-{self.id}" if self.id else self.name
        # marks belong to the letters before them: many scripts write vowels so
        kept = "".join(c if c.isalnum() or c in "_.-" or unicodedata.category(c)[0] == "M" else " " for c in name)
        name = "-".join(kept.split()).strip("-.") or "student"
        if len(name.encode()) > LONGEST:
            begin = name.encode()[:LONGEST].decode(errors="ignore")
            name = f"{begin}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
        return f"student-{name}" if _DEVICE.fullmatch(name) else name


def upload_of(path: Path) -> Upload:
    """What the name of a file or folder tells: Moodle's and Canvas's are understood, any other is the student's.

    A letter with an accent is one character in it, also where macOS has made two of it.
    """
    name = unicodedata.normalize("NFC", path.name or path.resolve().name)  # "." is called as the folder is
    if found := _MOODLE.fullmatch(name):
        return Upload(path, found["name"].strip(), found["id"], found["given"], typed=found["kind"] == "onlinetext")
    if found := _CANVAS.fullmatch(name):
        late = found["late"] is not None
        return Upload(path, found["name"].strip(), found["id"], found["given"], int(found["number"]), late)
    return Upload(path, Path(name).stem if path.suffix.lower() == ".zip" else name, given=name)


def student_of(path: Path) -> Student:
    """The student who handed in this file or folder."""
    return _student([upload_of(path)])


def students_of(paths: Sequence[Path]) -> list[Student]:
    """The students who handed in these files and folders, each once."""
    groups: dict[str, list[Upload]] = {}
    for path in dict.fromkeys(paths):
        upload = upload_of(path)
        name = Student(upload.name, upload.id, path).file_name.casefold()  # where capitals do not matter, one file
        groups.setdefault(name, []).append(upload)
    return [_student(group) for group in groups.values()]


def _student(uploads: list[Upload]) -> Student:
    """The student of these uploads, and which of them count."""
    gradable = (
        [upload for upload in uploads if upload.gradable]
        or [upload for upload in uploads if not upload.typed]
        or uploads
    )
    archives = [upload for upload in gradable if upload.lesson is None]
    loose = [upload for upload in gradable if upload.lesson is not None]
    problem = ""
    if archives:
        chosen = gradable if loose else _newest(archives)
        if len(chosen) > 1:
            problem = "several files, of which the lessons may be in any"
    else:
        numbers = dict.fromkeys(upload.lesson for upload in loose)
        chosen = [one for number in numbers for one in _newest([u for u in loose if u.lesson == number])]
        if len(chosen) > len(numbers):
            problem = "several files of one lesson"
    note = ""
    if problem:
        given = ", ".join(upload.given or upload.path.name for upload in chosen)
        note = f"handed in are {' and '.join(str(upload.path) for upload in chosen)}: keep what counts"
        problem = f"cannot be graded: {problem}: {one_line(given)}"
    elif left := [upload.path for upload in uploads if upload not in chosen and not upload.typed]:
        note = f"graded is {_listed(upload.path for upload in chosen)}, left out is {_listed(left)}"
    first, *more = chosen
    late = any(upload.late for upload in chosen)
    return Student(first.name, first.id, first.path, late, tuple(upload.path for upload in more), problem, note)


def _newest(uploads: list[Upload]) -> list[Upload]:
    """Of Canvas's files that with the largest number; all where that does not tell them apart."""
    newest = max(upload.number for upload in uploads)
    return [upload for upload in uploads if upload.number == newest]


def _listed(paths: Iterator[Path] | list[Path]) -> str:
    return " and ".join(map(str, paths))


# ---------------------------------------------------------------------------------------------------------
# Opening


@contextmanager
def opened(*submission: Path) -> Iterator[Path]:
    """A folder with the lessons of a submission, for as long as the block lasts; a folder with lessons is itself.

    Parameters
    ----------
    submission : Path
        A folder, a zip file of one, or a folder with zip files and no lessons, which is how Moodle hands out an
        upload; or files of lessons, which may be several.

    Raises
    ------
    ValueError
        If it is none of these, or a zip file is damaged, needs a password or has too much in it.
    """
    (first, *more) = submission
    zips = [] if more or not first.is_dir() else _zips(first)
    if not more and first.is_dir() and not zips:
        yield first
        return
    with temporary_folder(prefix=FOLDERS) as folder:
        if zips:
            for path in zips:  # each in a folder of its own, which is named after it
                place = folder if len(zips) == 1 else folder / path.relative_to(first)
                unpack(path, place)
        else:
            for path in submission:
                _take(path, folder)
        yield folder


def _take(path: Path, folder: Path) -> None:
    """Put a lesson's file, or what is in a zip file, into a folder."""
    name = upload_of(path).given
    if path.is_file() and lesson_named(name) is not None:
        if path.is_symlink():
            raise ValueError(f"{path.name} is a link: wanted the file itself")
        with path.open("rb") as file:  # one byte more than is graded: it is said to be too large
            (folder / name).write_bytes(file.read(largest(name) + 1))
    elif path.is_file() and (path.suffix.lower() == ".zip" or zipfile.is_zipfile(path)):
        unpack(path, folder)
    else:
        what = "no folder, no zip file and no lesson" if path.is_file() else "no folder and no file"
        raise ValueError(f"{path.name} is {what}: wanted one with the lessons that a student handed in")


def _zips(folder: Path) -> list[Path]:
    """The zip files in a folder without lessons; none where lessons lie beside them."""
    zips: list[Path] = []
    for path in files_below(folder):
        if lesson_named(path.name) is not None:
            return []
        if path.suffix.lower() == ".zip" and path.is_file() and not path.is_symlink() and len(zips) < ZIPS:
            zips.append(path)
    # a link to a folder of lessons is refused by whoever looks for them
    return [] if (folder / "lessons").is_symlink() else zips


def unpack(file: Path, folder: Path) -> None:
    """Write the lessons in a zip file into a folder; anything else in it is not looked at.

    Raises
    ------
    ValueError
        If the file is damaged, needs a password, or has too much in it.
    """
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{file.name} cannot be unpacked: it is no zip file, or a damaged one")
    size = 0
    try:
        with zipfile.ZipFile(file) as archive:
            for member in islice((m for m in archive.infolist() if _place(m) is not None), MEMBERS):
                place = folder / (_place(member) or "")
                with archive.open(member) as packed:  # one byte more than is graded, as above
                    content = packed.read(largest(place.name) + 1)
                size += len(content)
                if size > UNPACKED:
                    raise ValueError(f"{file.name} has lessons of more than {UNPACKED:,} bytes")
                place.parent.mkdir(parents=True, exist_ok=True)
                if place.is_dir():
                    raise IsADirectoryError  # Windows would only say that it is forbidden
                place.write_bytes(content)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise ValueError(f"{file.name} cannot be unpacked: it has a file and a folder of one name") from error
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise ValueError(f"{file.name} cannot be unpacked: {_without_path(error, file)}") from error


def _without_path(error: Exception, file: Path) -> str:
    return str(error).replace(str(file), file.name)


def _place(member: zipfile.ZipInfo) -> PurePosixPath | None:
    r"""Where a lesson in a zip file goes; None for anything else, and for what would be written outside.

    Some programs of Windows write "\" between folders. C: would be a drive there.
    """
    place = PurePosixPath(member.filename.replace("\\", "/"))
    outside = place.is_absolute() or ".." in place.parts or any(re.match("[A-Za-z]:", part) for part in place.parts)
    if outside or member.is_dir() or lesson_named(place.name) is None or any(map(passed_over, place.parent.parts)):
        return None
    return _named_for_windows(place) if WINDOWS else place


def _named_for_windows(place: PurePosixPath) -> PurePosixPath:
    """The same path with "_" for what Windows has in no name, as a question mark or a space at the end."""
    return PurePosixPath(*(_UNKNOWN_TO_WINDOWS.sub("_", part) for part in place.parts))


# ---------------------------------------------------------------------------------------------------------
# What is not there


def nothing_in(folder: Path, submission: Sequence[Path]) -> str:
    """Why not a single lesson of a submission can be graded, in a line with names only; "" where one can.

    Parameters
    ----------
    folder : Path
        As `opened` gives it.
    submission : sequence of Path
        What was handed in.
    """
    names = [path.name for path in files_below(folder)]
    if (folder / "lessons").is_symlink():  # not followed, and whoever looks for lessons there says so
        return ""
    said = ""
    for number in dict.fromkeys(filter(None, map(lesson_named, names))):
        try:
            find(folder, number)
            return ""
        except ValueError as error:
            said = said or str(error)
    if said:
        return one_line(said)
    there = [name for path in submission for name in _contents(path)]
    few = ", ".join(there[:5]) + (", …" if len(there) > 5 else "")
    return one_line(f"no lesson in it; there are: {few}" if there else "no lesson in it; it is empty")


def _contents(path: Path) -> list[str]:
    """Names of files in a folder, with those in its zip files, or in a zip file; a few at least."""
    if path.is_dir():
        files = list(islice(files_below(path), 100)) or sorted(path.iterdir())[:100]  # only what is passed over
        names = [file.relative_to(path).as_posix() for file in files]
        for file in files[:ZIPS]:
            if file.suffix.lower() == ".zip" and not file.is_symlink():
                names += _contents(file)
        return names
    with suppress(OSError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
        return [member.filename for member in islice(archive.infolist(), 100)]
    return [path.name]


def class_in(folder: Path) -> list[str]:
    """Where the submissions of a class lie in a folder that looks like one, not like a submission: else nothing.

    It does where one lesson lies in several of its folders and zip files, or their names are of several students.
    """
    if not folder.is_dir() or any(
        lesson_named(path.name) is not None for path in _files_in(folder, folder / "lessons")
    ):
        return []
    places: dict[str, set[int]] = {}
    for path in files_below(folder):
        numbers = {lesson_named(path.name)}
        if path.suffix.lower() == ".zip" and not path.is_symlink():
            numbers = {lesson_named(PurePosixPath(name.replace("\\", "/")).name) for name in _contents(path)}
        places.setdefault(path.relative_to(folder).parts[0], set()).update(filter(None, numbers))
    several = {number for number, count in Counter(n for found in places.values() for n in found).items() if count > 1}
    uploads = [upload_of(folder / name) for name in places]
    if len({(upload.name, upload.id) for upload in uploads if upload.id}) > 1:
        return [upload.path.name for upload in uploads if upload.id]
    return [name for name, found in places.items() if found & several]


def _files_in(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        with suppress(OSError):
            yield from (path for path in folder.iterdir() if path.is_file())


def refuse_class(folder: Path) -> None:
    """ValueError if a folder that is graded as one submission looks like those of a class."""
    if there := class_in(folder):
        names = " and ".join(there[:2]) + (f" and {len(there) - 2} more" if len(there) > 2 else "")
        raise ValueError(f"{folder} has the same lessons in {names}: a class? grade {folder / '*'}")
