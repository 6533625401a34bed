"""track_id: made and parsed in one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlab.errors import InvalidTrackId
from turnlab.tracks import new_track_id, parse_track_id

NAMES = st.from_regex(r"\A[A-Za-z0-9_]{1,128}\Z")
HEX = "f6bf3b78e4f5484abf949790c8451856"


@given(NAMES)
def test_what_is_made_can_be_parsed(name):
    parsed = parse_track_id(new_track_id(name))
    assert parsed.cluster_name == name
    assert len(parsed.uid) == 32


@given(NAMES, st.uuids())
def test_what_is_parsed_is_what_was_written(name, uid):
    parsed = parse_track_id(f"T-{name}-{uid.hex}")
    assert (parsed.cluster_name, parsed.uid) == (name, uid.hex)


@given(st.text())
def test_any_other_text_is_refused_and_nothing_else(text):
    with pytest.raises(InvalidTrackId):
        parse_track_id(text)


def test_no_two_are_alike():
    assert len({new_track_id("X") for _ in range(1_000)}) == 1_000


@pytest.mark.parametrize(
    "track_id",
    [
        "",
        "T",
        "T-",
        f"T--{HEX}",
        f"T-X{HEX}",
        f"X-X-{HEX}",
        f"t-X-{HEX}",
        f"T-X-{HEX[:-1]}",
        f"T-X-{HEX}0",
        f"T-X-{HEX.upper()}",
        f"T-X-{HEX[:-1]}g",
        f"T-X-Y-{HEX}",
        f"T-X Y-{HEX}",
        f"T-Ä-{HEX}",
        f"T-X-{HEX}\n",
        f" T-X-{HEX}",
        f"T-X-{HEX[:8]}-{HEX[8:12]}-{HEX[12:16]}-{HEX[16:20]}-{HEX[20:]}",
        f"T-../../etc/passwd-{HEX}",
        f"T-{'X' * 129}-{HEX}",
        "T-X-" + "٣" * 32,
    ],
)
def test_a_malformed_track_id_is_refused_with_its_form(track_id):
    with pytest.raises(InvalidTrackId, match="32 hex digits"):
        parse_track_id(track_id)


@pytest.mark.parametrize("name", ["", "A-B", "A B", "Ä", "A\n", "X" * 129])
def test_a_name_that_cannot_be_in_a_track_id_makes_none(name):
    with pytest.raises(InvalidTrackId, match="cannot name a Cluster"):
        new_track_id(name)
