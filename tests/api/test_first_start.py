"""What the first start makes, and what of it can be reached: on real processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from turnlab.testing.service import Served, command, served

httpx = pytest.importorskip("httpx2", reason="pip install 'turnlab[server]'")
pytest.importorskip("ninja", reason="pip install 'turnlab[server]'")

FIRST_START = """
from turnlab.server.setup import open_database
open_database(service=True)
from turnlab.server.first_start import first_start
print(*first_start("http://127.0.0.1:8000"), sep="\\n")
"""
MORE = """
import json, os
from django.conf import settings
from django.contrib.auth.models import AnonymousUser, Group, User
from turnlab.errors import InvalidToken, UnsafeSettings
from turnlab.server.config import config
from turnlab.server.models import AuditEntry, Project
from turnlab.server.roles import Principal
for name in ("researcher", "annotator", "visitor"):
    user = User.objects.create_user(name)
    user.groups.set(Group.objects.filter(name=name))
found = {user.username: Principal.from_user(user) for user in User.objects.all()}
for nobody in (AnonymousUser(), User(username="gone", is_active=False)):
    try:
        Principal.from_user(nobody)
    except InvalidToken:
        found[str(nobody)] = None
password = User.objects.get(username="admin").password
User.objects.filter(is_superuser=True).delete()
os.environ["TURNLAB_ADMIN_PASSWORD"] = "password"
config.cache_clear()
try:
    first_start("")
except UnsafeSettings as error:
    refused = error.message
print(json.dumps({
    "refused": refused,
    "secure": [settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.DEBUG],
    "origins": settings.CSRF_TRUSTED_ORIGINS,
    "people": {name: p and [p.owner, p.role, sorted(p.scopes)] for name, p in found.items()},
    "projects": list(Project.objects.values_list("name", flat=True)),
    "audit": list(AuditEntry.objects.values_list("action", "actor", "target")),
    "hash": password.split("$")[0],
}))
"""


def start(home: Path, script: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, "TURNLAB_HOME": str(home), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A service after its first start, which had to think of a password."""
    home = tmp_path_factory.mktemp("home")
    with served(home, embedded=False, env={"TURNLAB_ADMIN_PASSWORD": ""}) as serving:
        yield serving


def browser(server: Served, address: str = "127.0.0.1") -> httpx.Client:
    """A client at an address of its own."""
    transport = httpx.HTTPTransport(local_address=address)
    return httpx.Client(base_url=server.url, transport=transport)


def sign_in(client: httpx.Client, password: str) -> httpx.Response:
    page = client.get("/admin/login/")
    form = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert form is not None
    values = {"username": "admin", "password": password, "csrfmiddlewaretoken": form[1]}
    return client.post("/admin/login/?next=/admin/", data=values)


def printed(server: Served) -> str:
    """The password that the first start told."""
    (found,) = re.findall(r"shown this once, is (\S+)", server.said)
    return str(found)


# What it makes


def test_of_two_that_start_at_once_one_makes_the_administrator(tmp_path: Path) -> None:
    command({"TURNLAB_HOME": str(tmp_path)}, "tokens", "create", "--role", "client")
    told = [output(each) for each in [start(tmp_path, FIRST_START) for _ in range(2)]]
    assert sorted("Made the administrator 'admin'" in each for each in told) == [False, True]


def test_a_service_has_people_with_roles_and_cookies_that_need_https(tmp_path: Path) -> None:
    first, *_, last = output(
        start(tmp_path, FIRST_START + MORE, TURNLAB_PUBLIC_URL="https://t.example:8443")
    ).splitlines()
    made = json.loads(last)
    assert "Made the administrator" in first
    assert made["projects"] == ["default"]
    assert made["hash"] == "scrypt"
    assert ["user.create", "command line", "admin"] in made["audit"]
    assert made["secure"] == [True, True, False]
    assert made["origins"] == ["https://t.example:8443"]
    assert "TURNLAB_ADMIN_PASSWORD" in made["refused"]
    people = made["people"]
    assert people["admin"][:2] == ["admin", "administrator"]
    assert "admin" in people["admin"][2]
    assert people["researcher"][1] == "researcher"
    assert "annotate" in people["annotator"][2]
    assert people["visitor"][1:] == ["", []]
    assert people["AnonymousUser"] is None
    assert people["gone"] is None


def test_keeping_records_needs_no_accounts(tmp_path: Path) -> None:
    script = """
import sys
from turnlab.server.setup import open_database
open_database()
from django.db import connection
print(connection.introspection.table_names(), "django.contrib.auth" in sys.modules)
"""
    assert "auth_user" not in (said := output(start(tmp_path, script)))
    assert said.strip().endswith("False")
    assert "turnlab_track" in said


def test_a_server_that_would_not_be_safe_does_not_start(tmp_path: Path) -> None:
    wrong = {
        "TURNLAB_DEBUG": {"TURNLAB_HOST": "0.0.0.0", "TURNLAB_DEBUG": "1"},
        "of DATABASE_URL runs": {"DATABASE_URL": "postgresql://u:pa55word@127.0.0.1:1/d"},
    }
    serve = "import sys; from turnlab.cli import main; sys.argv[1:] = ['serve']; main()"
    begun = {
        told: start(tmp_path, serve, **{"TURNLAB_PORT": "0", **env}) for told, env in wrong.items()
    }
    for told, process in begun.items():
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1, said
        assert told in said
        assert "Traceback" not in said
        assert "pa55word" not in said


# What of it can be reached


def test_the_password_that_was_printed_signs_in(server: Served) -> None:
    with browser(server) as client:
        answer = sign_in(client, printed(server))
        assert answer.status_code == 302
        cookie = answer.headers["Set-Cookie"]
        assert "turnlab_session" in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        assert "Secure" not in cookie  # plain HTTP on this machine
        assert client.get("/admin/").status_code == 200
    with browser(server) as client:
        assert client.get("/admin/").status_code == 302


def test_passwords_cannot_be_tried_for_long(server: Served) -> None:
    with browser(server, "127.0.0.2") as client:
        for number in range(10):
            assert "correct username" in sign_in(client, f"wrong {number}").text
        assert sign_in(client, printed(server)).status_code != 302  # not even the right one
    with browser(server, "127.0.0.3") as client:
        assert sign_in(client, printed(server)).status_code == 302


def test_wrong_tokens_are_answered_429_in_the_end(server: Served) -> None:
    with browser(server, "127.0.0.4") as client:
        client.headers["Authorization"] = "Bearer tl_0123456789ab_" + "A" * 43
        answers = [client.get("/api/v1/tracks") for _ in range(11)]
    assert [each.status_code for each in answers] == [401] * 10 + [429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].json()["code"] == "too_many_requests"
    # Who shares the address with it is not shut out.
    with browser(server, "127.0.0.4") as client:
        right = {"Authorization": f"Bearer {server.token('researcher')}"}
        assert client.get("/api/v1/tracks", headers=right).status_code == 200
        assert sign_in(client, printed(server)).status_code == 302


def test_a_token_works_until_it_is_revoked(server: Served) -> None:
    token = server.token("researcher")
    with browser(server, "127.0.0.5") as client:
        client.headers["Authorization"] = f"Bearer {token}"
        assert client.get("/api/v1/tracks").status_code == 200
        command(server.env, "tokens", "revoke", token.split("_")[1])  # another process
        deadline_s = time.monotonic() + 30
        while client.get("/api/v1/tracks").status_code == 200:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)
        assert "revoked" in client.get("/api/v1/tracks").json()["detail"]


@pytest.mark.parametrize("path", ["/admin/login/", "/api/v1/tracks", "/nothing"])
def test_answers_say_what_a_browser_may_do_with_them(server: Served, path: str) -> None:
    with browser(server, "127.0.0.6") as client:
        headers = client.get(path).headers
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"


def test_a_name_that_is_not_the_servers_is_refused(server: Served) -> None:
    with browser(server) as client:
        assert client.get("/admin/login/", headers={"Host": "evil.example"}).status_code == 400
