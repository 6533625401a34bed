"""What clients send: JSON, sounds and pictures, each read as far as it is what it claims."""

from __future__ import annotations

import json
import math
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, cast

import soundfile
from django.core.exceptions import RequestDataTooBig
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.http import HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from ninja.parser import Parser

from turnlab.audio import check_density
from turnlab.chunks import Image
from turnlab.errors import (
    EmptyAudio,
    InvalidAudio,
    InvalidImage,
    InvalidRequest,
    RecordingFailed,
    TooLarge,
)
from turnlab.pictures import LIMIT_BYTES, check_picture, picture_type
from turnlab.server.api.schemas import MOST_IMAGES
from turnlab.server.problems import Refused

JSON = "application/json"
MULTIPART = "multipart/form-data"

MOST_JSON = 2**20
"""Bytes of JSON, where nothing says otherwise. Whatever thread reads JSON, all others wait."""

MOST_VALUES = 250_000
"""About so many values of JSON are read; long texts, such as pictures, are quick beside them."""

_DEEPEST = 64
"""How deep JSON may nest."""

if TYPE_CHECKING:  # generic for the type checker alone
    Upload = UploadedFile[bytes]
else:
    Upload = UploadedFile


class JsonParser(Parser):
    """django-ninja's parser, which refuses what is not called JSON and JSON that cannot be kept."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """The body as JSON. Raises InvalidRequest."""
        require_type(request, JSON)
        return cast(dict[str, Any], read_json(json_body(request)))


def json_body(request: HttpRequest, most: int = MOST_JSON) -> bytes:
    """The body, of which no more is read than it may have. Raises TooLarge."""
    data = request.read(most + 1)
    _check_length(data, most)
    return data


def _check_length(data: bytes, most: int) -> None:
    if len(data) > most:
        raise TooLarge(
            f"The JSON is longer than {most / 2**20:g} MiB; send sounds and pictures as files."
        )


def require_type(request: HttpRequest, *allowed: str) -> None:
    """Raise InvalidRequest (415) unless the body is called one of `allowed`."""
    if request.content_type not in allowed:
        told = (request.content_type or "nothing")[:100]
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            f"The body is called {told!r}; send {' or '.join(allowed)}.",
        )


def read_json(data: bytes | str, most: int = MOST_JSON) -> Any:
    """`data` as JSON of bounded depth with no NaN and only characters that can be kept.

    Raises InvalidRequest (400), TooLarge for more than `most` bytes or too many values.
    """
    data = data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data
    _check_length(data, most)
    if sum(map(data.count, (b",", b"[", b"{"))) > MOST_VALUES:  # each value but the first has one
        raise TooLarge(f"The JSON has more than {MOST_VALUES:,} values; send fewer.")
    try:
        value = json.loads(data, parse_constant=_no_number)
        _check_plain(value, 0)
    except RecursionError:
        raise Refused(400, "The JSON nests too deeply.") from None
    except ValueError as error:  # also bytes that are no text, and numbers of thousands of digits
        raise Refused(400, f"The body is no JSON that can be read: {str(error)[:200]}.") from error
    return value


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def _check_plain(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise RecursionError
    match value:
        case str():
            _check_text(value)
        case dict():
            for key, each in value.items():
                _check_text(key)
                _check_plain(each, depth + 1)
        case list():
            for each in value:
                _check_plain(each, depth + 1)
        case float() if not math.isfinite(value):
            raise ValueError("a number is too large")


def _check_text(text: str) -> None:
    if "\0" in text:
        raise ValueError("a text holds NUL")
    text.encode()  # raises UnicodeEncodeError, a ValueError, for halves of surrogate pairs


def read_parts(request: HttpRequest) -> tuple[Any, Upload | None, list[Upload]]:
    """The parts of a multipart request: `request` as JSON, `audio`, `images`.

    The files lie in temporary files that go with the request. Raises InvalidRequest, TooLarge.
    """
    request.upload_handlers = [TemporaryFileUploadHandler(request)]
    try:
        fields, files = request.POST, request.FILES
    except MultiPartParserError as error:
        raise Refused(400, f"The multipart body cannot be read: {error}") from error
    except RequestDataTooBig as error:
        raise TooLarge("The fields of the request are too large; send sounds as files.") from error
    except UnreadablePostError:
        raise  # the client has gone away
    except OSError as error:
        raise RecordingFailed(
            f"What was sent cannot be kept ({error.strerror}); nothing was accepted. Free disk "
            "space on the server, then send it again."
        ) from error
    _check_names(set(fields), {"request"})
    _check_names(set(files), {"audio", "images"})
    if len(fields.getlist("request")) != 1 or len(files.getlist("audio")) > 1:
        raise InvalidRequest("body: needs one part `request` with JSON, and at most one `audio`.")
    audio = cast(list[Upload], files.getlist("audio"))
    asked = read_json(str(fields["request"]))
    return asked, audio[0] if audio else None, cast(list[Upload], files.getlist("images"))


def _check_names(found: set[str], known: set[str]) -> None:
    if strange := found - known:
        name = min(strange)[:100]
        raise InvalidRequest(
            f"body.{name}: is no part of this request; there are request (JSON), audio and images "
            "(files)."
        )


def read_images(files: list[Upload]) -> list[Image]:
    """The pictures, each checked by its bytes. Raises InvalidImage, InvalidRequest."""
    if len(files) > MOST_IMAGES:
        raise InvalidRequest(f"body.images: are {len(files)}; send at most {MOST_IMAGES}.")
    return [_image(file) for file in files]


def _image(file: Upload) -> Image:
    if (file.size or 0) > LIMIT_BYTES:
        raise InvalidImage(f"A picture is larger than {LIMIT_BYTES // 2**20} MiB; shrink it.")
    data = file.read()
    image = Image(data=data, media_type=picture_type(data) or "")
    check_picture(image)
    return image


def check_recording(path: Path, most_s: float) -> None:
    """Raise TooLarge unless the recording is at most `most_s` seconds long.

    What its header claims counts, since no more than that is ever decoded: the rest of a small
    file that would decode to hours is passed over. Raises InvalidAudio, EmptyAudio.
    """
    try:
        with soundfile.SoundFile(path) as file:
            rate, channels, frames = file.samplerate, file.channels, file.frames
    except soundfile.LibsndfileError as error:
        if path.stat().st_size == 0:
            raise EmptyAudio("The recording is empty; record it again.") from error
        raise InvalidAudio(
            f"The recording is not audio that can be decoded ({error.error_string}); "
            "give WAV, FLAC, OGG or MP3."
        ) from error
    check_density(rate, channels)
    if frames > most_s * rate:
        raise TooLarge(f"The recording is longer than {most_s:g} s; send a shorter one.")
