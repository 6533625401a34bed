"""Cuts a film into turns: of each its sound as WAV, and a frame now and then as JPEG."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from turnlab.audio import RATE
from turnlab.errors import InvalidVideo, MissingPackage, OutputFailed, UnreadableFile
from turnlab.home import make_folder
from turnlab.packaged import installed
from turnlab.pictures import MOST_PIXELS
from turnlab.video.moments import told
from turnlab.video.turns import CutTurn, TurnFiles

MOST_BYTES = 16 * 2**30
MOST_S = 6 * 3600
"""Of a film."""

FRAMES_PER_SECOND = (0.01, 5.0)

GAP_S = 0.1
"""Sound that is missing for longer is silence; less is how films are written."""

# No playlist: those name other files and addresses, which a film from a stranger must not.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,ogg,flv,asf,wav,mp3,flac"


@dataclass(frozen=True, kw_only=True)
class Cut:
    """What is asked of a film."""

    film: Path
    moments: Sequence[float]
    """Where each turn begins, ascending, in seconds; the last one lasts until the end."""
    frames_per_second: float = 1.0

    def __post_init__(self) -> None:
        least, most = FRAMES_PER_SECOND
        if not least <= self.frames_per_second <= most:
            raise InvalidVideo(f"--frames-per-second must lie between {least:g} and {most:g}.")


def cut_film(asked: Cut, out: Path) -> list[CutTurn]:
    """Write the turns of a film to the folder `out`, and `manifest.jsonl` that lists them.

    Raises InvalidVideo (no film, no sound, a moment behind its end, larger or longer than is
    taken), UnreadableFile, OutputFailed (`out` is not empty), MissingPackage.
    """
    if not installed("av"):
        raise MissingPackage("PyAV is not installed: pip install 'turnlab[video]'.")
    with _opened(asked.film) as container:
        _check(container, asked)
        _make_empty(out)
        try:
            with TurnFiles(out, asked.moments, asked.frames_per_second) as files:
                _read(container, files, asked.film)
            turns = files.turns()
            _write_manifest(out, turns)
        except BaseException:
            _clear(out)
            raise
    return turns


@contextmanager
def _opened(film: Path) -> Iterator[Any]:
    """The film as PyAV has it. It is read through its file alone."""
    import av

    options = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
    with _file(film) as file:
        try:
            with av.open(file, container_options=options, metadata_errors="replace") as container:
                yield container
        except (av.error.FFmpegError, OSError) as error:
            raise InvalidVideo(
                f"{film} cannot be read as a film ({error.strerror}); convert it to MP4."
            ) from error


def _file(film: Path) -> IO[bytes]:
    """The file, open. Raises UnreadableFile, InvalidVideo."""
    try:
        if not film.is_file():
            raise UnreadableFile(f"{film} is no file.")
        if film.stat().st_size > MOST_BYTES:
            raise InvalidVideo(f"{film} is larger than {MOST_BYTES // 2**30} GiB; cut it first.")
        return film.open("rb")
    except OSError as error:
        raise UnreadableFile(f"{film} cannot be read: {error.strerror}.") from error


def _check(container: Any, asked: Cut) -> None:
    """Refuse what cannot be cut, before anything is written or decoded."""
    if not container.streams.audio:
        raise InvalidVideo(f"{asked.film} has no sound, so nobody speaks in it.")
    for stream in container.streams.video:
        if stream.codec_context.width * stream.codec_context.height > MOST_PIXELS:
            raise InvalidVideo(f"{asked.film} has more than {MOST_PIXELS // 10**6} megapixels.")
    if container.duration is not None:
        duration_s = container.duration / 1e6
        if duration_s > MOST_S:
            raise InvalidVideo(f"{asked.film} lasts longer than {MOST_S // 3600} h; cut it first.")
        require_within(asked.moments, duration_s)


def require_within(moments: Sequence[float], duration_s: float) -> None:
    """Raise InvalidVideo that names the first moment behind the end of the film."""
    behind = [moment for moment in moments if moment >= duration_s]
    if behind:
        raise InvalidVideo(
            f"{told(behind[0])} lies behind the end of the film, which lasts {told(duration_s)}."
        )


def _read(container: Any, files: TurnFiles, film: Path) -> None:
    """Decode the film once, from its beginning to its end, piece by piece."""
    import av

    wanted = [container.streams.audio[0], *container.streams.video[:1]]
    for stream in container.streams.video[:1]:
        stream.thread_type = "AUTO"
    begin_s = (container.start_time or 0) / 1e6
    sound = _Sound(files, begin_s)
    for frame in container.decode(wanted):
        at_s = None if frame.time is None else frame.time - begin_s
        if at_s is not None and at_s > MOST_S:
            raise InvalidVideo(f"{film} lasts longer than {MOST_S // 3600} h; cut it first.")
        if isinstance(frame, av.AudioFrame):
            sound.add(frame, at_s)
        elif isinstance(frame, av.VideoFrame) and at_s is not None:
            files.show(frame, at_s)
    sound.end()
    files.close()
    require_within(files.moments, files.duration_s)


class _Sound:
    """The film's sound at 16 kHz, with silence where the film has none."""

    def __init__(self, files: TurnFiles, begin_s: float) -> None:
        import av

        self._files = files
        self._begin_s = begin_s
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        self._fed = 0.0  # seconds

    def add(self, frame: Any, at_s: float | None) -> None:
        """The next frame; sound of before the film begins is left out."""
        if at_s is not None and at_s < 0:
            return
        if at_s is not None and at_s > self._fed + GAP_S:
            self._drain()
            self._files.hear_nothing(round(at_s * RATE))
            self._fed = at_s
        self._fed += frame.samples / frame.sample_rate
        frame.pts = None
        self._put(self._resampler.resample(frame))

    def end(self) -> None:
        """There is no more."""
        self._drain()

    def _drain(self) -> None:
        import av

        self._put(self._resampler.resample(None))
        # A resampler that was drained takes nothing more.
        self._resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)

    def _put(self, frames: Any) -> None:
        for frame in frames:
            self._files.hear(frame.to_ndarray()[0])


def _make_empty(out: Path) -> None:
    try:
        make_folder(out)
        if any(out.iterdir()):
            raise OutputFailed(f"{out} is not empty; name another folder by --out.")
    except OSError as error:
        raise OutputFailed(f"{out} cannot be made: {error.strerror}.") from error


def _clear(out: Path) -> None:
    """Leave no half of it; the folder was empty."""
    for made in out.glob("turn-*"):
        shutil.rmtree(made, ignore_errors=True)


def _write_manifest(out: Path, turns: Sequence[CutTurn]) -> None:
    lines = [json.dumps(turn.as_json(out)) + "\n" for turn in turns]
    try:
        (out / "manifest.jsonl").write_text("".join(lines), encoding="utf-8")
    except OSError as error:
        raise OutputFailed(f"{out} cannot be written: {error.strerror}.") from error
