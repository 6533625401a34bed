"""The admin of a real `turnlab serve` process, as a browser without scripts sees it."""

from __future__ import annotations

import html
import io
import json
import re
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from turnlab.testing.service import Served, served

httpx2 = pytest.importorskip("httpx2", reason="pip install 'turnlab[server]'")
pytest.importorskip("ninja", reason="pip install 'turnlab[server]'")

PARTS = Path(__file__).parent / "parts"
PASSWORD = "correct-horse-battery"
PEOPLE = f"""
from turnlab.server.setup import configure
configure(service=True)
from django.contrib.auth.models import Group, User
for name in ("researcher", "annotator", "visitor"):
    user = User.objects.create_user(name, password={PASSWORD!r}, is_staff=True)
    user.groups.set(Group.objects.filter(name=name))
"""
ONE_CLUSTER = """
name = "CLUSTER_OTHER"
[[component]]
task = "fast_answer"
[[component]]
task = "fast_speak"
"""


class Browser:
    """Somebody who is signed in; `post` sends the form of a page with its token."""

    def __init__(self, server: Served, user: str) -> None:
        self.client = httpx2.Client(base_url=server.url, timeout=30)
        form = {"username": user, "password": PASSWORD, "next": "/admin/"}
        answer = self.post("/admin/login/", "/admin/login/", form)
        assert answer.headers["location"] == "/admin/", answer.text

    def page(self, path: str, status: int = 200) -> str:
        """What the page says, entities read."""
        answer = self.client.get(path)
        assert answer.status_code == status, f"{answer.status_code} {path}"
        return html.unescape(answer.text)

    def post(self, on: str, path: str, form: dict[str, Any]) -> Any:
        """The answer to a form of the page `on` that goes to `path`."""
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.client.get(on).text)
        assert token, f"{on} has no form"
        return self.client.post(path, data={"csrfmiddlewaretoken": token[1], **form})

    def posted(self, on: str, path: str, form: dict[str, Any]) -> str:
        """The page that the form leads to."""
        answer = self.post(on, path, form)
        assert answer.status_code == 302, answer.text
        return self.page(answer.headers["location"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("home")
    clusters = tmp_path_factory.mktemp("clusters")
    (clusters / "fast.toml").write_text((PARTS / "clusters" / "fast.toml").read_text())
    (clusters / "other.toml").write_text(ONE_CLUSTER)
    with served(home, modules=PARTS / "modules", clusters=clusters) as process:
        run_there(process, PEOPLE)
        yield process


def run_there(server: Served, script: str) -> None:
    """Run Python against the tables of the server."""
    with_tables = {"TURNLAB_HOME": server.env["TURNLAB_HOME"], "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=with_tables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def admin(server: Served) -> Browser:
    return Browser(server, "admin")


@pytest.fixture(scope="module")
def api(server: Served) -> Any:
    token = server.token("administrator", "--name", "tester")
    headers = {"Authorization": f"Bearer {token}"}
    return httpx2.Client(base_url=server.url, headers=headers, timeout=30)


@contextmanager
def tables(server: Served) -> Iterator[Any]:
    """The models, of the server's database."""
    from django.db import connections

    from turnlab.server import models

    before = connections.databases["default"]["NAME"]
    connections.close_all()
    connections.databases["default"]["NAME"] = Path(server.env["TURNLAB_HOME"], "turnlab.sqlite3")
    try:
        yield models
    finally:
        connections.close_all()
        connections.databases["default"]["NAME"] = before


def start(api: Any, **more: Any) -> str:
    asked = {"cluster": "CLUSTER_FAST", "text": "what is the weather like", **more}
    answer = api.post("/api/v1/tracks", json=asked)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["track_id"])


def ended(api: Any, track_id: str) -> dict[str, Any]:
    """The Track once it has ended."""
    with api.stream("GET", f"/api/v1/tracks/{track_id}/events") as answer:
        for _ in answer.iter_lines():
            pass
    detail: dict[str, Any] = api.get(f"/api/v1/tracks/{track_id}").json()
    return detail


def slow(api: Any) -> str:
    """A Track that would take ten seconds."""
    words = {"word_s": 1.0, "words": 8}
    return start(api, overrides={"fast_answer": words}, text="one two three four five six seven")


def at(track_id: str, part: str = "") -> str:
    return f"/admin/turnlab/track/{track_id}/{part}"


def listed(browser: Browser, query: str = "") -> list[str]:
    """The ids of the Tracks in the list, in its order."""
    page = browser.page(f"/admin/turnlab/track/?{query}")
    return re.findall(r'<a href="/admin/turnlab/track/([^"/]+)/" title="T-', page)


# Who may


def test_nothing_is_shown_to_who_is_not_signed_in(server: Served, api: Any) -> None:
    track_id = ended(api, start(api))["track_id"]
    stranger = httpx2.Client(base_url=server.url)
    for path in ("/admin/", "/admin/health/", "/admin/turnlab/track/", at(track_id, "live/")):
        answer = stranger.get(path)
        assert answer.status_code == 302
        assert answer.headers["location"].startswith("/admin/login/")
    for path in (at(track_id, "cancel/"), at(track_id, "rerun/"), at(track_id, "export/")):
        assert stranger.post(path).status_code in (302, 403)


def test_people_do_what_their_role_lets_them(server: Served, api: Any) -> None:
    track_id = ended(api, start(api))["track_id"]
    researcher, annotator = Browser(server, "researcher"), Browser(server, "annotator")
    for person in (researcher, annotator):
        assert "You said" in person.page(at(track_id))
        person.page("/admin/turnlab/token/", status=403)
        person.page("/admin/turnlab/auditentry/", status=403)
        assert "Tokens" not in person.page("/admin/")
    assert "Run again" in researcher.page(at(track_id))
    assert "Run again" not in annotator.page(at(track_id))
    for part in ("cancel/", "rerun/", "export/"):
        answer = annotator.post("/admin/", at(track_id, part), {})
        assert answer.status_code == 403


def test_who_has_no_role_sees_nothing(server: Served, api: Any) -> None:
    track_id = ended(api, start(api))["track_id"]
    visitor = Browser(server, "visitor")
    page = visitor.page("/admin/")
    assert "no role yet" in page
    assert track_id not in page
    for path in (at(track_id), at(track_id, "live/"), "/admin/health/", "/admin/turnlab/track/"):
        visitor.page(path, status=403)


def test_what_changes_something_is_a_form_with_its_token(admin: Browser, api: Any) -> None:
    track_id = ended(api, start(api))["track_id"]
    for part in ("cancel/", "rerun/", "export/"):
        assert admin.client.get(at(track_id, part)).status_code == 403
        assert admin.client.post(at(track_id, part)).status_code == 403


# The page of a Track


def test_a_track_shows_what_was_said_where_the_time_went_and_its_tasks(
    admin: Browser, api: Any
) -> None:
    track = ended(api, start(api))
    page = admin.page(at(track["track_id"]))
    for text in ("what is the weather like", "You said what is the weather like today.", "tester"):
        assert text in page
    assert '<svg class="drawing"' in page
    for task in track["tasks"]:
        assert f'id="task-{task["id"]}"' in page
    assert f"{round(1000 * track['voice_to_voice_s'])} ms" in page
    assert "within its budget" in page
    sound = re.search(r'<audio [^>]*src="([^"]+)"', page)
    assert sound
    # The link needs no session, and is no good for another file.
    played = httpx2.get(str(admin.client.base_url).rstrip("/") + sound[1])
    assert (played.status_code, played.content[:4]) == (200, b"RIFF")
    assert admin.client.get(sound[1].replace("signature=", "signature=x")).status_code == 403


def test_a_recording_that_is_gone_is_said_to_be(server: Served, admin: Browser, api: Any) -> None:
    track_id = ended(api, start(api))["track_id"]
    with tables(server) as models:
        file = models.ResSpeech.objects.get(track_id=track_id).file.name
    Path(server.env["TURNLAB_HOME"], "media", file).unlink()
    page = admin.page(at(track_id))
    assert "the recording is not there any more" in page
    assert "<audio" not in page


def test_parameters_are_shown_without_their_secrets(admin: Browser, api: Any) -> None:
    template = "https://me:hunter2@example.org/ {text}"
    track_id = start(api, overrides={"fast_answer": {"prompt_template": template, "words": 3}})
    task = next(t for t in ended(api, track_id)["tasks"] if t["name"] == "fast_answer")
    for page in (admin.page(at(track_id)), admin.page(f"/admin/turnlab/task/{task['id']}/change/")):
        assert "hunter2" not in page
        assert "example.org" in page
    assert b"hunter2" not in exported(admin, track_id)["tracks.jsonl"]


def test_what_users_say_is_text_and_never_markup(admin: Browser, api: Any) -> None:
    track_id = ended(api, start(api, text="<script>alert(1)</script> <img src=x onerror=y>"))
    answer = admin.client.get(at(track_id["track_id"]))
    assert "<script>alert" not in answer.text
    assert "<img src=x" not in answer.text


@pytest.mark.parametrize(
    "path", ["/admin/", "/admin/health/", "/admin/turnlab/track/", "/admin/turnlab/token/add/", ""]
)
def test_pages_run_no_script_but_the_servers_own_files(admin: Browser, api: Any, path: str) -> None:
    answer = admin.client.get(path or at(ended(api, start(api))["track_id"]))
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", answer.text))
    assert not re.search(r"<[^>]+ (on\w+|style)=", answer.text)


def test_a_running_track_is_followed_and_cancelled(admin: Browser, api: Any) -> None:
    track_id = slow(api)
    page = admin.page(at(track_id))
    assert f'data-renew="{at(track_id, "live/")}"' in page
    part = wait_for(admin, track_id, "started")
    seen = re.search(r'data-shown="(\w+)"', part)
    assert seen
    assert admin.client.get(at(track_id, f"live/?seen={seen[1]}")).status_code == 204
    assert "is being cancelled" in admin.posted(at(track_id), at(track_id, "cancel/"), {})
    part = wait_for(admin, track_id, "data-over")
    assert "cancelled" in part
    assert "data-renew" not in admin.page(at(track_id))
    entries = admin.page("/admin/turnlab/auditentry/?q=track.cancel")
    assert track_id in entries


def wait_for(browser: Browser, track_id: str, text: str) -> str:
    """What follows the Track, once it has the text and the records of its first Task."""
    deadline_s = time.monotonic() + 10
    while time.monotonic() < deadline_s:
        part = browser.page(at(track_id, "live/"))
        if text in part and 'id="task-' in part:
            return part
        time.sleep(0.05)
    raise AssertionError(f"{text} is not in {part}")


def test_a_track_runs_again_through_its_cluster_or_another(admin: Browser, api: Any) -> None:
    track_id = ended(api, start(api))["track_id"]
    page = admin.page(at(track_id))
    choices = re.findall(r'<option value="(CLUSTER_\w+)"', page)
    assert "CLUSTER_OTHER" in choices
    for cluster, name in (("", "CLUSTER_FAST"), ("CLUSTER_OTHER", "CLUSTER_OTHER")):
        form = {"cluster": cluster}
        answer = admin.post(at(track_id), at(track_id, "rerun/"), form)
        again = ended(api, answer.headers["location"].split("/")[-2])
        assert (again["cluster"], again["status"]) == (name, "completed")
        assert (again["owner"], again["rerun_of"]) == ("admin", track_id)
        assert track_id[-8:] in admin.page(at(again["track_id"]))
    page = admin.posted(at(track_id), at(track_id, "rerun/"), {"cluster": "CLUSTER_NONE"})
    assert "unknown_cluster" in page


def test_there_is_no_page_for_what_is_no_track(admin: Browser) -> None:
    admin.page(at("T-CLUSTER_FAST-" + "0" * 32), status=404)
    admin.page(at("nonsense"), status=404)


# Export


def exported(browser: Browser, *track_ids: str) -> dict[str, bytes]:
    """The files of an export."""
    where = "/admin/turnlab/track/"
    form = {"action": "export_chosen", "_selected_action": list(track_ids)}
    answer = browser.post(where, where, form)
    assert answer.headers["content-type"] == "application/zip", answer.text
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_an_export_holds_records_and_media(admin: Browser, api: Any) -> None:
    ids = [ended(api, start(api))["track_id"] for _ in range(2)]
    files = exported(admin, *ids)
    tracks = [json.loads(line) for line in files.pop("tracks.jsonl").splitlines()]
    assert {track["track_id"] for track in tracks} == set(ids)
    for track in tracks:
        assert len(track["tasks"]) == 2
        assert datetime.fromisoformat(track["created_at"]).tzinfo is not None
        spoken = next(c for c in track["contents"] if c["kind"] == "ResSpeech")
        assert files[spoken["file"]][:4] == b"RIFF"
    assert len(files) == 2
    assert "2 Tracks" in admin.page("/admin/turnlab/auditentry/?q=export")


def test_refused_consent_deletes_what_was_said_and_keeps_it_out_of_exports(
    admin: Browser, api: Any
) -> None:
    track = ended(api, start(api, conversation="new"))
    where = f"/admin/turnlab/conversation/{track['conversation_id']}/"
    page = admin.page(where + "change/")
    assert track["track_id"][-8:] in page
    page = admin.posted(where + "change/", where + "consent/", {"consent": "refused"})
    assert "refused" in page
    assert "what is the weather like" not in admin.page(at(track["track_id"]))
    files = exported(admin, track["track_id"])
    assert files["tracks.jsonl"] == b""
    assert track["track_id"].encode() in files["left_out.jsonl"]


# The list


@pytest.fixture(scope="module")
def many(server: Served) -> list[str]:
    """250 Tracks of a year ago, one a minute, the newest first."""
    newest = datetime.now(UTC) - timedelta(days=365)
    with tables(server) as models:
        rows = [
            models.Track(
                track_id=f"T-CLUSTER_{'OLD' if n % 2 else 'AGED'}-{n:032x}",
                cluster="CLUSTER_OLD" if n % 2 else "CLUSTER_AGED",
                cluster_hash="0",
                mode="streamed",
                status="failed" if n % 5 == 0 else "completed",
                error_code="worker_lost" if n % 5 == 0 else "",
                voice_to_voice_s=None if n % 5 == 0 else 0.1 + n / 50,
                created_at=newest - timedelta(minutes=n),
                updated_at=newest,
                owner="grandma" if n % 10 == 1 else "grandpa",
                project="archive" if n < 7 else "default",
                request={},
            )
            for n in range(250)
        ]
        models.Track.objects.bulk_create(rows)
    return [row.track_id for row in rows]


def number(track_id: str) -> int:
    return int(track_id[-32:], 16)


def last_year(days: int = 365) -> str:
    """The filter that leaves the old ones."""
    until = datetime.now(UTC) - timedelta(days=days - 1)
    return f"until={until:%Y-%m-%dT%H:%M}"


def test_the_list_is_leafed_through_without_a_count(admin: Browser, many: list[str]) -> None:
    found: list[str] = []
    for page in (1, 2, 3):
        found += listed(admin, f"{last_year()}&p={page}")
    assert found == many
    assert "101 to 200" in admin.page(f"/admin/turnlab/track/?{last_year()}&p=2")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("cluster=CLUSTER_OLD", lambda n: n % 2 == 1),
        ("status=failed", lambda n: n % 5 == 0),
        ("owner=grandma", lambda n: n % 10 == 1),
        ("project=archive", lambda n: n < 7),
        ("latency=lost", lambda n: n % 5 and 0.1 + n / 50 > 5),
        ("cluster=CLUSTER_AGED&latency=good", lambda n: n % 2 == 0 and n % 5 and n / 50 <= 0.7),
        ("q=T-CLUSTER_OLD-", lambda n: n % 2 == 1),
        (f"q={7:032x}", lambda n: n == 7),
        ("q=T-CLUSTER_OLD-&status=failed", lambda n: n % 2 == 1 and n % 5 == 0),
    ],
)
def test_the_list_is_narrowed(admin: Browser, many: list[str], query: str, expected: Any) -> None:
    found = listed(admin, f"{last_year()}&{query}")
    assert found == [each for each in many if expected(number(each))][:100]


def test_narrowed_by_latency_alone_the_slowest_come_first(admin: Browser, many: list[str]) -> None:
    found = listed(admin, "latency=lost")
    numbers = [number(each) for each in found if each in many]
    assert numbers == [249, 248, 247, 246]


def test_over_budget_is_by_the_budget_of_its_own_cluster(
    server: Served, admin: Browser, api: Any
) -> None:
    track_id = ended(api, start(api))["track_id"]
    assert track_id not in listed(admin, "latency=over")
    with tables(server) as models:
        models.Track.objects.filter(track_id=track_id).update(voice_to_voice_s=1.25)
    assert listed(admin, "latency=over") == [track_id]
    assert listed(admin, "latency=over&age=hour") == [track_id]
    assert "250 ms over its budget" in admin.page(at(track_id))


@pytest.mark.parametrize(
    ("column", "key"),
    [
        ("3", lambda n: (n % 2, -n)),
        ("-4", lambda n: n),
        ("5", lambda n: n),
        ("-5", lambda n: -n),
        ("7", lambda n: (n % 10 != 1, -n)),
    ],
)
def test_the_list_is_sorted(admin: Browser, many: list[str], column: str, key: Any) -> None:
    found = [number(each) for each in listed(admin, f"{last_year()}&o={column}")]
    by_latency = column.endswith("5")
    rows = [n for n in range(250) if n % 5 or not by_latency]
    assert found == sorted(rows, key=key)[:100]


def test_what_the_filters_do_not_know_is_refused(admin: Browser) -> None:
    admin.page("/admin/turnlab/track/?spans__contains=x", status=400)
    admin.page("/admin/turnlab/token/?secret_hash__startswith=0", status=400)


def test_an_action_is_for_what_was_shown(admin: Browser, api: Any, many: list[str]) -> None:
    where = f"/admin/turnlab/track/?{last_year()}"
    form = {"action": "rerun_chosen", "select_across": "1", "_selected_action": many[:2]}
    answer = admin.post(where, where, form)
    assert "Run 100 Tracks again" in answer.text
    assert "No Cluster can run them here" in answer.text


def test_chosen_tracks_are_cancelled_and_run_again(admin: Browser, api: Any) -> None:
    where = "/admin/turnlab/track/"
    ids = [ended(api, start(api))["track_id"] for _ in range(2)]
    form = {"action": "rerun_chosen", "_selected_action": ids}
    assert "CLUSTER_OTHER" in admin.post(where, where, form).text
    page = admin.posted(where, where, {**form, "cluster": "CLUSTER_OTHER"})
    assert "2 Tracks were accepted" in page
    made = [each for each in listed(admin, "owner=admin&cluster=CLUSTER_OTHER")][:2]
    assert {ended(api, each)["rerun_of"] for each in made} == set(ids)
    running = slow(api)
    form = {"action": "cancel_chosen", "_selected_action": [running, *ids]}
    assert "1 Tracks are being cancelled" in admin.posted(where, where, form)
    assert ended(api, running)["status"] == "cancelled"


# Tokens, projects, accounts


def test_a_token_is_shown_once_works_and_is_revoked(server: Served, admin: Browser) -> None:
    where = "/admin/turnlab/token/add/"
    form = {"name": "lab mic", "role": "client", "days": "7"}
    page = html.unescape(admin.post(where, where, form).text)
    secret = re.search(r"tl_\w+", page.replace("-", "_"))
    assert secret
    token = page[secret.start() : secret.end()]
    headers = {"Authorization": f"Bearer {token}"}
    assert httpx2.get(f"{server.url}/api/v1/tracks", headers=headers).status_code == 200

    listing = admin.page("/admin/turnlab/token/")
    assert "lab mic" in listing
    assert token not in listing
    token_id = token.split("_")[1]
    chosen: dict[str, Any] = {"action": "revoke_chosen", "_selected_action": [token_id]}
    admin.posted("/admin/turnlab/token/", "/admin/turnlab/token/", chosen)
    assert httpx2.get(f"{server.url}/api/v1/tracks", headers=headers).status_code == 401
    assert token_id in admin.page("/admin/turnlab/auditentry/?q=token.revoke")


def test_a_token_that_cannot_be_made_says_why(admin: Browser) -> None:
    where = "/admin/turnlab/token/add/"
    form = {"name": "x", "role": "client", "scopes": ["admin"]}
    assert "does not have admin" in admin.post(where, where, form).text


def test_a_project_gets_its_rule(server: Served, admin: Browser) -> None:
    where = "/admin/turnlab/project/add/"
    wrong = admin.post(where, where, {"name": "study", "keep": "days", "media_days": ""})
    assert "Say after how many days" in wrong.text
    page = admin.posted(where, where, {"name": "study", "keep": "days", "media_days": "30"})
    assert "sounds and pictures for 30 days" in page
    change = "/admin/turnlab/project/study/change/"
    page = admin.posted(change, change, {"keep": "text", "media_days": ""})
    assert "texts and figures" in page
    assert admin.page("/admin/turnlab/auditentry/?q=project.set").count("study") >= 2


def test_an_account_is_made_and_audited(server: Served, admin: Browser) -> None:
    where = "/admin/auth/user/add/"
    passwords = {"password1": "battery-staple-horse", "password2": "battery-staple-horse"}
    page = admin.posted(
        where, where, {"username": "colleague", "usable_password": "true", **passwords}
    )
    assert "colleague" in page
    assert "colleague" in admin.page("/admin/turnlab/auditentry/?q=account.create")


@pytest.mark.parametrize("name", ["task", "worker", "node", "conversation", "auditentry"])
def test_records_cannot_be_added_changed_or_deleted(admin: Browser, name: str) -> None:
    page = admin.page(f"/admin/turnlab/{name}/")
    assert "addlink" not in page.partition('id="content-main"')[2]
    assert "delete_selected" not in page
    assert admin.client.get(f"/admin/turnlab/{name}/add/").status_code == 403


# Health


def test_health_tells_what_fails_and_who_is_alive(admin: Browser, api: Any) -> None:
    failed = start(api, overrides={"fast_answer": {"fail_after": 1}})
    assert ended(api, failed)["error"]["code"] == "module_failed"
    page = admin.page("/admin/health/")
    assert "Failed Tracks" in page
    assert re.search(r"module_failed</code></th><td[^>]*>1</td>", page)
    assert "1 alive" in page
    assert "answers in" in page
    assert 'class="badge good">ok' in page
    assert "module_failed" in admin.page("/admin/health/figures/")
