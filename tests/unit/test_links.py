"""Links to media: good for what they were made for, as long as they were made for."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from django.test import override_settings

from turnlab.errors import Forbidden
from turnlab.server import links
from turnlab.server.links import check_media_url, media_url

NAME = "audio/3f/0b8a7c1e-6f1d.wav"


def parts(url: str) -> tuple[str, str, str, str]:
    """Name, expiry, signature and owner, as a server gets them."""
    split = urlsplit(url)
    query = {key: values[0] for key, values in parse_qs(split.query).items()}
    name = unquote(split.path).removeprefix("/media/")
    return name, query["expires"], query["signature"], query.get("owner", "")


@pytest.mark.parametrize("owner", ["", "ada", "a&b=ü /?#"])
def test_a_link_reads_what_it_was_made_for(owner: str) -> None:
    name, expires, signature, whose = parts(media_url(NAME, owner=owner))
    assert (name, whose) == (NAME, owner)
    check_media_url(name, expires, signature, whose)


def test_a_changed_link_reads_nothing() -> None:
    name, expires, signature, _ = parts(media_url(NAME))
    for changed in [
        ("audio/3f/other.wav", expires, signature),
        (name, str(int(expires) + 1), signature),
        (name, f"{expires}\n", signature),
        (name, "\u0661" + expires, signature),
        (name, "", signature),
        (name, "9" * 5000, signature),
        (name, expires, signature[:-1]),
        (name, expires, ""),
        (name, expires, "é"),
    ]:
        with pytest.raises(Forbidden, match="not one"):
            check_media_url(*changed)
    with pytest.raises(Forbidden, match="not one"):
        check_media_url(name, expires, signature, "eve")


def test_the_parts_of_a_link_cannot_run_into_each_other() -> None:
    _, expires, signature, _ = parts(media_url("a", owner="b"))
    with pytest.raises(Forbidden):
        check_media_url('a", 1, "b', expires, signature, "")


def test_a_link_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    name, expires, signature, _ = parts(media_url(NAME, ttl_s=60))
    monkeypatch.setattr("time.time", lambda: float(expires) - 1)
    check_media_url(name, expires, signature)
    monkeypatch.setattr("time.time", lambda: float(expires))
    with pytest.raises(Forbidden, match="expired"):
        check_media_url(name, expires, signature)


def test_another_secret_makes_other_links() -> None:
    with override_settings(SECRET_KEY="another, of some length, that is random"):
        url = media_url(NAME)
    with pytest.raises(Forbidden):
        check_media_url(*parts(url))


@pytest.mark.parametrize(
    "name",
    ["", "/etc/passwd", "../secret_key", "audio/../../x", "audio//x", "./x", "a\\..\\b", "a\0b"],
)
def test_a_name_that_leads_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(Forbidden):
        media_url(name)
    with pytest.raises(Forbidden):
        check_media_url(name, 2**33, "x")


@pytest.mark.parametrize("ttl_s", [0, -1, links.LONGEST_S + 1, float("nan"), float("inf")])
def test_a_link_is_good_for_a_week_at_most(ttl_s: float) -> None:
    with pytest.raises(ValueError, match="good for"):
        media_url(NAME, ttl_s=ttl_s)
