"""What came with a request, kept until its Track has ended, so that it can be begun again."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from django.core.files import File
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage

from turnlab.chunks import Image
from turnlab.errors import RecordingFailed, UnreadableFile
from turnlab.pictures import picture_type

FOLDER = "incoming"


def keep_sound(path: Path) -> str:
    """Keep a recording under a name that nobody can guess. Raises RecordingFailed."""
    with path.open("rb") as file:
        return _kept("sound", File(file))


def keep_picture(picture: Image) -> str:
    """Keep a picture. Raises RecordingFailed."""
    return _kept("picture", ContentFile(picture.data))


def _kept(what: str, file: File) -> str:  # type: ignore[type-arg]
    try:
        return default_storage.save(f"{FOLDER}/{uuid.uuid4().hex}.{what}", file)
    except OSError as error:
        raise RecordingFailed(
            f"What was sent cannot be kept ({error.strerror}); nothing was accepted. Free disk "
            "space on the server, then send it again."
        ) from error


@contextmanager
def local_file(name: str) -> Iterator[Path]:
    """A recording of the storage as a file that can be opened by its path.

    Raises UnreadableFile if it is gone.
    """
    try:
        path: Path | None = Path(default_storage.path(name))
    except NotImplementedError:  # a storage elsewhere
        path = None
    if path is not None and path.exists():
        yield path
        return
    with TemporaryDirectory() as folder:
        copy = Path(folder, "sound")
        try:
            with default_storage.open(name) as file:
                copy.write_bytes(file.read())
        except OSError as error:
            raise UnreadableFile(f"The recording {name!r} is gone; send it again.") from error
        yield copy


def load_picture(name: str) -> Image:
    """A picture of the storage. Raises UnreadableFile if it is gone."""
    try:
        with default_storage.open(name) as file:
            data = file.read()
    except OSError as error:
        raise UnreadableFile(f"The picture {name!r} is gone; send it again.") from error
    return Image(data=data, media_type=picture_type(data) or "application/octet-stream")


def drop(names: Iterable[str]) -> None:
    """Delete those of these that were kept for a request; recordings of Tracks stay."""
    for name in names:
        if name.startswith(f"{FOLDER}/"):
            with suppress(OSError):
                default_storage.delete(name)
