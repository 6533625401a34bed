"""What the command line is given, and where it writes: refused or told, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from turnlab.chunks import Reply
from turnlab.cli.session import find_parts, parse_overrides
from turnlab.errors import InvalidParams, UnreadableFile
from turnlab.modules.base import Module

FULL = Path("/dev/full")


class Numbers(BaseModel):
    """Of all kinds that JSON has."""

    share: float = 0.0
    text: str = ""
    weights: dict[str, list[float]] = {}


class Counting(Module):
    """Only its parameters are looked at."""

    task_name = "counting_of_parameters"
    produces = Reply
    Params = Numbers


@pytest.mark.parametrize("value", ["nan", "NaN", "inf", "-Infinity", "1e999", float("nan")])
def test_a_parameter_is_a_finite_number(value: object) -> None:
    with pytest.raises(InvalidParams, match=r"share: .* give a finite one"):
        Counting.check_params({"share": value})


def test_a_parameter_is_finite_and_text_however_deep_it_lies() -> None:
    with pytest.raises(InvalidParams, match="weights: inf is no number"):
        Counting.check_params({"weights": {"a": [1.0, float("inf")]}})
    with pytest.raises(InvalidParams, match="weights: it is no text"):
        Counting.check_params({"weights": {"\udcff": []}})
    with pytest.raises(InvalidParams, match="text: it is no text in UTF-8"):
        Counting.check_params({"text": "a\udcffb"})
    assert Counting.check_params({"text": "nan", "share": 0.5}).model_dump()["text"] == "nan"


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "[1, NaN]", '{"a": 1e999}'])
def test_an_override_is_no_number_without_an_end(value: str) -> None:
    with pytest.raises(InvalidParams, match="give a finite one"):
        parse_overrides([f"answer.fail={value}"])


@pytest.mark.parametrize("text", ["a.b=\udcff", 'a.b="\\udcff"', "a.\udcff=1", "\udcff.b=1"])
def test_an_override_is_text_that_can_be_written(text: str) -> None:
    with pytest.raises(InvalidParams, match="no text in UTF-8") as raised:
        parse_overrides([text])
    raised.value.message.encode()


def test_what_is_no_json_is_text() -> None:
    digits, nested = "9" * 5_000, "[" * 100_000
    found = parse_overrides(["a.b=word", f"a.c={digits}", f"a.d={nested}", "a.e=0.5"])
    assert found == {"a": {"b": "word", "c": digits, "d": nested, "e": 0.5}}


def test_a_folder_that_is_none_is_named_whatever_the_option(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match="is no folder of Cluster files") as raised:
        find_parts([tmp_path / "nope"], [])
    assert "--" not in raised.value.message


def called(*arguments: str, stdout: int, unbuffered: str = "") -> tuple[int, str]:
    """The exit code, and what was told on stderr."""
    done = subprocess.run(
        [sys.executable, "-m", "turnlab", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        check=False,
    )
    return done.returncode, done.stderr


def test_folders_of_clusters_have_one_name_with_all_commands(tmp_path: Path) -> None:
    missing = str(tmp_path / "nope")
    for option in ("--clusters", "--cluster-folder"):
        code, told = called("clusters", "list", option, missing, stdout=subprocess.DEVNULL)
        assert (code, "is no folder of Cluster files" in told) == (1, True)


@pytest.mark.skipif(not FULL.exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_standard_output_is_told(unbuffered: str) -> None:
    with FULL.open("wb") as full:
        code, told = called("version", stdout=full.fileno(), unbuffered=unbuffered)
    assert code == 1
    assert "output_failed" in told
    assert "Standard output cannot be written: No space left on device." in told
    assert "Traceback" not in told


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_gone_is_no_failure_to_tell_of(unbuffered: str) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    try:
        assert called("version", stdout=writes, unbuffered=unbuffered)[1] == ""
    finally:
        os.close(writes)


def test_what_a_library_prints_does_not_come_between_figures() -> None:
    told = (
        "import ctypes\n"
        "from turnlab.cli.printing import figures_alone\n"
        "with figures_alone():\n"
        "    ctypes.CDLL(None).puts(b'of a library in C')\n"
        "    print('of a Module')\n"
        "print('{}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", told],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )
    assert done.stdout == "{}\n"
    assert sorted(done.stderr.splitlines()) == ["of a Module", "of a library in C"]


def test_a_process_without_a_standard_output_prints_its_figures_nowhere() -> None:
    told = "from turnlab.cli.printing import figures_alone\nwith figures_alone(): pass\n"
    command = ["sh", "-c", 'exec "$0" -c "$1" >&-', sys.executable, told]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
