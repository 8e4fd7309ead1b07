"""Settings: where each value comes from, every mistake at once, and no password in sight."""

from __future__ import annotations

from pathlib import Path

import pytest

from bakeoff.adapters import settings
from bakeoff.errors import BakeoffError, ConfigError, InputError


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting from outside reaches the tests."""
    import os

    for name in [name for name in os.environ if name.startswith(settings.PREFIX)]:
        monkeypatch.delenv(name)


def origin(folder: Path, name: str) -> tuple[str, str]:
    """Value and origin of one setting, as shown."""
    return next((value, where) for key, value, where in settings.load(folder).describe() if key == name)


def test_precedence_with_origins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Environment > .env > the deployment's section > the file's top level > default, and each says so."""
    assert ("1", "default") == origin(tmp_path, "workers")
    (tmp_path / "bakeoff.yaml").write_text(
        "workers: 2\nartifacts: top\nenvironments: {production: {workers: 3}, development: {idle_minutes: 5}}\n"
    )
    assert ("2", "bakeoff.yaml") == origin(tmp_path, "workers")
    assert ("5.0", "bakeoff.yaml (environments.development)") == origin(tmp_path, "idle_minutes")
    monkeypatch.setenv("BAKEOFF_ENV", "production")
    assert ("3", "bakeoff.yaml (environments.production)") == origin(tmp_path, "workers")
    assert ("top", "bakeoff.yaml") == origin(tmp_path, "artifacts")
    assert ("30.0", "default") == origin(tmp_path, "idle_minutes")
    (tmp_path / ".env").write_text("BAKEOFF_WORKERS=1\nOTHER=ignored\n")
    assert ("1", ".env") == origin(tmp_path, "workers")
    monkeypatch.setenv("BAKEOFF_WORKERS", "2")
    assert ("2", "environment") == origin(tmp_path, "workers")


def test_deployment_from_dotenv(tmp_path: Path) -> None:
    """`.env` may say which deployment this is."""
    (tmp_path / ".env").write_text("BAKEOFF_ENV=staging\n")
    (tmp_path / "bakeoff.yaml").write_text("environments: {staging: {connect_timeout_s: 3}}\n")
    assert ("3", "bakeoff.yaml (environments.staging)") == origin(tmp_path, "connect_timeout_s")


def test_a_deployment_that_the_file_lacks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt BAKEOFF_ENV never falls back silently to another deployment's values."""
    (tmp_path / "bakeoff.yaml").write_text("workers: 2\nenvironments: {production: {workers: 3}}\n")
    assert 2 == settings.load(tmp_path).values.workers
    monkeypatch.setenv("BAKEOFF_ENV", "prodction")
    with pytest.raises(ConfigError, match=r"has no environments\.prodction") as caught:
        settings.load(tmp_path)
    assert "it has production" == caught.value.hint


def test_all_problems_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every wrong value is named with its source and its key."""
    monkeypatch.setenv("BAKEOFF_WORKERS", "9")
    (tmp_path / ".env").write_text("BAKEOFF_IDLE_MINUTES=never\n")
    (tmp_path / "bakeoff.yaml").write_text("connect_timeout_s: 0\nworkrs: 2\n")
    with pytest.raises(ConfigError) as caught:
        settings.load(tmp_path)
    problems = sorted(problem.split(": ")[:2] for problem in caught.value.problems)
    expected = [
        [".env", "idle_minutes"],
        ["bakeoff.yaml", "connect_timeout_s"],
        ["bakeoff.yaml", "workrs"],
        ["environment", "workers"],
    ]
    assert expected == problems
    assert 2 == caught.value.exit_code


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("- a\n- b\n", ConfigError, "bakeoff.yaml: expected keys and values"),
        ("environments: [a]\n", ConfigError, "bakeoff.yaml: environments: expected"),
        ("environments: {development: 5}\n", ConfigError, "bakeoff.yaml: environments.development: expected"),
        ("workers: [\n", InputError, "bakeoff.yaml:2:1"),
        ("1: 2\n", ConfigError, "settings are wrong"),
    ],
)
def test_broken_file_is_named(tmp_path: Path, text: str, kind: type[BakeoffError], message: str) -> None:
    """A settings file of another shape is refused with its place."""
    (tmp_path / "bakeoff.yaml").write_text(text)
    with pytest.raises(kind, match=message.replace(".", r"\.")):
        settings.load(tmp_path)


def test_files_that_are_not_utf8_are_named(tmp_path: Path) -> None:
    """Neither settings file may hold anything but UTF-8."""
    for name in ("bakeoff.yaml", ".env"):
        (tmp_path / name).write_bytes(b"# caf\xe9\nBAKEOFF_WORKERS=2\n")
        with pytest.raises(InputError, match="not UTF-8"):
            settings.load(tmp_path)
        (tmp_path / name).unlink()


def test_empty_file_means_defaults(tmp_path: Path) -> None:
    """An empty settings file says nothing, and nothing goes wrong."""
    (tmp_path / "bakeoff.yaml").write_text("")
    assert ("1", "default") == origin(tmp_path, "workers")


URLS = [
    ("postgresql://me:s3cr%23t@db.example:5432/rag", "postgresql://me:***@db.example:5432/rag"),
    ("postgres://me:plain@db/rag", "postgres://me:***@db/rag"),
    ("postgresql://postgres:postgres@postgres/postgres", "postgresql://postgres:***@postgres/postgres"),
    ("postgresql://me@db/rag?password=s3cr%23t&sslmode=require", "postgresql://me@db/rag?password=***&sslmode=require"),
    ("postgresql://db/rag?sslpassword=plain", "postgresql://db/rag?sslpassword=***"),
    ("postgresql://me@db/rag", "postgresql://me@db/rag"),
    ("postgresql://:plain@db/rag", "postgresql://:***@db/rag"),
    ("postgresql://me:plain@[::1]:5432/rag", "postgresql://me:***@[::1]:5432/rag"),
    ("postgresql://me:pl@in@db/rag", "***"),
    ("postgresql://me:pla/in@db/rag", "***"),
    ("postgresql:/me:plain@db/rag", "***"),
    ("me:plain@db", "***"),
]


@pytest.mark.parametrize(("url", "shown"), URLS)
def test_password_is_never_shown(url: str, shown: str) -> None:
    """However a password is written in a URL, it is masked; a URL that can't be read is masked whole."""
    assert shown == settings.without_password(url)


@pytest.mark.parametrize("given", ["password=plain", "password='pl ain'", "password = plain", "sslpassword=plain"])
def test_password_in_keywords_is_never_shown(given: str) -> None:
    """The keyword form too, quoted or not."""
    shown = settings.without_password(f"host=db user=me {given} dbname=rag")
    assert "ain" not in shown
    assert "***" in shown
    assert "host=db" in shown


def test_description_masks_the_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `config show` and `doctor` print holds no password."""
    monkeypatch.setenv("BAKEOFF_DATABASE_URL", "postgresql://me:s3cr%23t@db/rag")
    assert ("postgresql://me:***@db/rag", "environment") == origin(tmp_path, "database_url")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.test/services/T0/secret?key=1", "https://hooks.test/***"),
        ("https://ada:secret@hooks.test:8443", "https://hooks.test:8443"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
    ],
)
def test_nothing_secret_of_a_webhook_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, shown: str
) -> None:
    """Neither what it is signed with, nor user, path and query of its address, which often are the password."""
    monkeypatch.setenv("BAKEOFF_WEBHOOK_URL", url)
    monkeypatch.setenv("BAKEOFF_WEBHOOK_SECRET", "hush")
    assert (shown, "environment") == origin(tmp_path, "webhook_url")
    assert ("***", "environment") == origin(tmp_path, "webhook_secret")
    assert "hush" not in repr(settings.load(tmp_path))


def test_a_webhook_is_an_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anything else is refused before something was moved that nobody could be told of."""
    monkeypatch.setenv("BAKEOFF_WEBHOOK_URL", "hooks.test/a")
    with pytest.raises(ConfigError) as caught:
        settings.load(tmp_path)
    assert caught.value.problems[0].startswith("environment: webhook_url: ")


def test_who_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """BAKEOFF_OPERATOR on one line; else the login name; where a system has none, that is said."""
    monkeypatch.setenv("LOGNAME", "grace")
    assert "grace" == settings.operator(settings.load(tmp_path))
    monkeypatch.setenv("BAKEOFF_OPERATOR", " Ada\nLovelace ")
    assert "Ada Lovelace" == settings.operator(settings.load(tmp_path))
    monkeypatch.delenv("BAKEOFF_OPERATOR")

    def nobody() -> str:
        raise KeyError

    monkeypatch.setattr("getpass.getuser", nobody)
    assert "unknown" == settings.operator(settings.load(tmp_path))
