from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError, connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from turnlab import errors
from turnlab.errors import TurnlabError
from turnlab.server import models
from turnlab.server.api.reading import track_page
from turnlab.server.api.schemas import TrackFilter
from turnlab.server.limits import Exceeded
from turnlab.server.problems import answer, not_found, status_of
from turnlab.server.roles import ROLES, Principal, Role
from turnlab.tracks import new_track_id

request = RequestFactory().get("/api/v1/tracks")


def test_every_error_has_a_status_and_its_code() -> None:
    found = [each for each in vars(errors).values() if isinstance(each, type)]
    for kind in (each for each in found if issubclass(each, TurnlabError)):
        response = answer(kind(), request)
        told = json.loads(response.content)
        assert 400 <= status_of(kind()) < 600
        assert (told["code"], told["status"]) == (kind.code, response.status_code)
        assert response["Content-Type"] == "application/problem+json"
        assert ("Retry-After" in response) == (response.status_code in (429, 503))


def test_who_is_too_fast_is_told_when_to_come_again() -> None:
    response = answer(Exceeded("Wait.", 12.3), request)
    assert (response.status_code, response["Retry-After"]) == (429, "12")


@pytest.mark.parametrize("failure", [OperationalError, InterfaceError])
def test_a_database_that_is_gone_is_no_failure_of_the_server(
    failure: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    secret = "connection to server at 10.1.2.3 failed for user carol"
    response = answer(failure(secret), request)
    assert response.status_code == 503
    assert json.loads(response.content)["code"] == "database_unavailable"
    assert int(response["Retry-After"]) > 0
    assert b"carol" not in response.content
    assert "carol" in caplog.text
    wrapped = answer(errors.DatabaseUnavailable(secret), request)
    assert b"carol" not in wrapped.content


def test_what_nobody_foresaw_is_logged_under_a_number_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        response = answer(ZeroDivisionError("the secret is 42"), request)
    told = json.loads(response.content)
    assert (response.status_code, told["code"]) == (500, "internal")
    assert "secret" not in response.content.decode()
    incident = told["detail"].split()[-1].rstrip(".")
    assert incident in caplog.text
    assert "the secret is 42" in caplog.text


def test_what_django_refuses_is_told_in_the_same_form() -> None:
    assert answer(RequestDataTooBig(), request).status_code == 413
    assert not_found(request, Exception())["Content-Type"] == "application/problem+json"


def test_a_page_of_tracks_takes_one_query(database: Path) -> None:
    now = datetime.now(UTC)
    models.Track.objects.bulk_create(
        models.Track(
            track_id=new_track_id("CLUSTER_A"),
            cluster="CLUSTER_A",
            mode="streamed",
            status="completed",
            created_at=now - timedelta(seconds=age),
            updated_at=now,
            owner="anna" if age % 2 else "bob",
            project="default",
            priority="live",
        )
        for age in range(150)
    )
    anna = Principal(owner="anna", role=Role.CLIENT, scopes=ROLES[Role.CLIENT])
    with CaptureQueriesContext(connection) as queries:
        page = track_page(anna, TrackFilter())
    assert len(queries) == 1
    assert len(page["items"]) == 50
    assert {each["owner"] for each in page["items"]} == {"anna"}
    rest = track_page(anna, TrackFilter(cursor=page["next"]))
    assert (len(rest["items"]), rest["next"]) == (25, None)


def test_tracks_of_one_moment_are_all_on_some_page(database: Path) -> None:
    moment = datetime.now(UTC)
    ids = {new_track_id("CLUSTER_A") for _ in range(7)}
    models.Track.objects.bulk_create(
        models.Track(
            track_id=each,
            cluster="CLUSTER_A",
            mode="streamed",
            status="pending",
            created_at=moment,
            updated_at=moment,
        )
        for each in ids
    )
    everyone = Principal(owner="", role=Role.ADMINISTRATOR, scopes=ROLES[Role.ADMINISTRATOR])
    found: list[str] = []
    cursor = None
    while True:
        page = track_page(everyone, TrackFilter(limit=2, cursor=cursor))
        found += [each["track_id"] for each in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert sorted(found) == sorted(ids)
