"""Settings: how they are read, which are refused, and that their page lists every one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from turnlab.errors import UnsafeSettings, UnsupportedDatabase
from turnlab.server.config import Config, read_config, variable
from turnlab.server.databases import database_settings
from turnlab.server.safety import check_safety, is_loopback

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "reference" / "settings.md").read_text()
SECRET = "Zx8-kQ2_vN5wB7yT0rJ3mL6pD9sF1gHc"

# Reading


def test_settings_are_those_of_the_environment(tmp_path: Path) -> None:
    read = read_config(
        {
            "TURNLAB_HOME": str(tmp_path),
            "TURNLAB_PORT": "9000",
            "TURNLAB_MAX_SPEECH_S": "90.5",
            "TURNLAB_DEBUG": "1",
            "TURNLAB_ALLOWED_HOSTS": "one.example, two.example,",
            "TURNLAB_PUBLIC_URL": "https://turnlab.example/",
            "TURNLAB_TRUSTED_PROXIES": "127.0.0.1,10.0.0.0/8",
            "TURNLAB_MAX_PENDING": "",  # as Docker Compose sets what is not set
            "TURNLAB_UNKNOWN": "x",
        }
    )
    assert (read.home, read.port, read.max_speech_s, read.debug) == (tmp_path, 9000, 90.5, True)
    assert read.public_url == "https://turnlab.example"
    assert read.max_pending == 10_000
    assert {"one.example", "two.example", "turnlab.example", "localhost"} <= set(read.hosts)
    assert read.trusted_proxies == ("127.0.0.1", "10.0.0.0/8")


def test_nothing_set_is_a_service_for_this_machine_alone() -> None:
    read = read_config({})
    assert read.loopback_url == "http://127.0.0.1:8000"
    assert not read.debug
    assert all(is_loopback(host) for host in read.hosts)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TURNLAB_PORT", "abc"),
        ("TURNLAB_PORT", "70000"),
        ("TURNLAB_MAX_UPLOAD_MIB", "0"),
        ("TURNLAB_MAX_SPEECH_S", "nan"),
        ("TURNLAB_MAX_SPEECH_S", "inf"),
        ("TURNLAB_LEASE_S", "-1"),
        ("TURNLAB_REQUESTS_PER_MINUTE", "0"),
        ("TURNLAB_DEBUG", "perhaps"),
        ("TURNLAB_PUBLIC_URL", "turnlab.example"),
        ("TURNLAB_PUBLIC_URL", "https://turnlab.example/under"),
        ("TURNLAB_PUBLIC_URL", "https://user:word@turnlab.example"),
        ("TURNLAB_NODE_URL", "http://host:99999"),
        ("TURNLAB_TRUSTED_ORIGINS", "https://ok.example,nonsense"),
        ("TURNLAB_TRUSTED_PROXIES", "*"),
        ("TURNLAB_ALLOWED_HOSTS", "https://turnlab.example"),
        ("TURNLAB_ADMIN_USER", "a b"),
        ("TURNLAB_HOME", "~nobody-of-this-name/x"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(name: str, value: str) -> None:
    with pytest.raises(UnsafeSettings, match=name) as caught:
        read_config({name: value})
    assert value in caught.value.message


def test_secrets_are_neither_shown_nor_told() -> None:
    read = read_config(
        {
            "TURNLAB_SECRET_KEY": SECRET,
            "TURNLAB_ADMIN_PASSWORD": SECRET,
            "DATABASE_URL": f"postgresql://u:{SECRET}@h/d",
        }
    )
    assert read.database_url.endswith("@h/d")
    assert SECRET not in repr(read) + str(read)
    with pytest.raises(UnsafeSettings) as caught:
        check_safety(read.model_copy(update={"host": "0.0.0.0", "secret_key": "5hort"}))
    assert "5hort" not in caught.value.message


# Databases


def test_an_address_makes_the_database(tmp_path: Path) -> None:
    pytest.importorskip("dj_database_url", reason="pip install 'turnlab[server]'")
    own = database_settings("", tmp_path)
    assert own["NAME"] == tmp_path / "turnlab.sqlite3"
    named = database_settings(f"sqlite:///{tmp_path}/other.sqlite3", tmp_path)
    assert named["NAME"] == tmp_path / "other.sqlite3"
    assert named["OPTIONS"] == own["OPTIONS"]
    pytest.importorskip("psycopg", reason="pip install 'turnlab[postgres]'")
    for scheme in ("postgres", "postgresql"):
        found = database_settings(f"{scheme}://u:p%40ss@h:5433/d?sslmode=require", tmp_path)
        assert (found["PASSWORD"], found["PORT"], found["NAME"]) == ("p@ss", 5433, "d")
        assert found["OPTIONS"]["sslmode"] == "require"
        assert found["CONN_HEALTH_CHECKS"]


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:pa55word@h/d",
        "pa55word",
        "postgresql://u:pa55word@h:port/d",
        "postgresql://u:pa55word@[h/d",
        "sqlite://:memory:",
        "sqlite://",
    ],
)
def test_another_address_is_refused_without_its_password(url: str, tmp_path: Path) -> None:
    pytest.importorskip("dj_database_url", reason="pip install 'turnlab[server]'")
    pytest.importorskip("psycopg", reason="pip install 'turnlab[postgres]'")
    with pytest.raises(UnsupportedDatabase, match="DATABASE_URL") as caught:
        database_settings(url, tmp_path)
    assert "pa55word" not in caught.value.message


# Safety


def published(tmp_path: Path, **values: str) -> Config:
    """The settings of a server that others reach, as it should be but for `values`."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700, exist_ok=True)
    given = {"HOME": str(home), "HOST": "0.0.0.0", "PUBLIC_URL": "https://t.example", **values}
    return read_config({f"TURNLAB_{name}": value for name, value in given.items()})


def test_a_server_as_it_should_be_is_not_complained_of(tmp_path: Path) -> None:
    assert check_safety(published(tmp_path)) == []
    assert check_safety(published(tmp_path, SECRET_KEY=SECRET)) == []
    assert check_safety(read_config({"TURNLAB_HOME": str(tmp_path / "new")})) == []


@pytest.mark.parametrize(
    "values",
    [
        {"DEBUG": "1"},
        {"DEBUG": "1", "HOST": "127.0.0.1"},  # a proxy in front makes it public
        {"SECRET_KEY": SECRET[:31]},
        {"SECRET_KEY": "a" * 64},
        {"SECRET_KEY": f"django-insecure-{SECRET}"},
        {"ALLOWED_HOSTS": "*"},
    ],
)
def test_what_is_unsafe_in_public_is_refused(tmp_path: Path, values: dict[str, str]) -> None:
    name = next(iter(values))
    with pytest.raises(UnsafeSettings, match=f"TURNLAB_{name}"):
        check_safety(published(tmp_path, **values))
    alone = published(tmp_path, **values | {"HOST": "127.0.0.1", "PUBLIC_URL": ""})
    assert all("chmod" not in line for line in check_safety(alone))


def test_any_host_takes_a_setting_more(tmp_path: Path) -> None:
    assert check_safety(published(tmp_path, ALLOWED_HOSTS="*", ALLOW_ANY_HOST="1")) == []


def test_a_secret_or_a_home_that_others_can_read_is_refused(tmp_path: Path) -> None:
    settings = published(tmp_path)
    secret = settings.home / "secret_key"
    secret.write_text(SECRET)
    secret.chmod(0o644)
    with pytest.raises(UnsafeSettings, match="secret_key"):
        check_safety(settings)
    secret.chmod(0o600)
    settings.home.chmod(0o755)
    with pytest.raises(UnsafeSettings, match="chmod 700"):
        check_safety(settings)
    (line,) = check_safety(published(tmp_path, HOST="127.0.0.1", PUBLIC_URL=""))
    assert "chmod 700" in line


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"PUBLIC_URL": "http://t.example"}, "TLS"),
        ({"PUBLIC_URL": ""}, "TURNLAB_ALLOWED_HOSTS"),
        ({"HOST": "127.0.0.1"}, "TURNLAB_TRUSTED_PROXIES"),
    ],
)
def test_what_should_be_better_is_told(tmp_path: Path, values: dict[str, str], told: str) -> None:
    assert told in " ".join(check_safety(published(tmp_path, **values)))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.0.2", "localhost.example", "2130706433"]
)
def test_all_else_is_no_loopback(host: str) -> None:
    assert not is_loopback(host)


# The page


def test_the_page_tells_every_setting_as_the_code_has_it() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*) \|$", PAGE, re.MULTILINE))
    for name, field in Config.model_fields.items():
        default = "" if field.default_factory else str(field.default)
        told = {"()": "", "False": "0", "True": "1"}.get(default, default)
        shown = f"`{told}`" if told else ""
        expected = f"{shown} | {field.description}" if shown else f" | {field.description}"
        if name == "home":
            expected = f"`~/.local/share/turnlab` | {field.description}"
        assert rows.get(variable(name), "").strip() == expected.strip(), variable(name)


def test_the_page_tells_every_variable_that_the_code_reads() -> None:
    read = set()
    for file in (ROOT / "src" / "turnlab").rglob("*.py"):
        read |= set(re.findall(r"[\"'](TURNLAB_[A-Z_]+[A-Z])[\"']", file.read_text()))
    missing = {name for name in read if f"`{name}`" not in PAGE}
    assert not missing
