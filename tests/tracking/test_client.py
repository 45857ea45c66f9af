from __future__ import annotations

import pytest

from orchestrator.tracking.client import TrackingUnavailable, hide_secrets, hide_secrets_in, open_client, unavailable


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("http://me:secret@host:5000/mlflow", "http://***@host:5000/mlflow"),
        ("https://secret@host", "https://***@host"),
        ("https://host/api?token=secret&x=1", "https://host/api?***"),
        ("https://me:secret@host/?token=secret#part", "https://***@host/?***"),
        ("postgresql+psycopg2://me:secret@host/db?sslmode=require", "postgresql+psycopg2://***@host/db?***"),
        ("postgresql://me:se/cr?et#wi@th[all@host/db", "postgresql://***@host/db"),
        ("http://me:secret@[::1", "http://***@[::1"),
    ],
)
def test_who_logs_in_and_the_query_are_not_printed(uri: str, shown: str) -> None:
    assert hide_secrets(uri) == shown


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:////home/me@work/a:b/mlflow.db",
        "sqlite:///mlflow.db",
        "http://127.0.0.1:5000",
        "http://host/a/b/",
        "databricks://profile",
        "",
    ],
)
def test_a_uri_without_secrets_stays_as_it_is(uri: str) -> None:
    assert hide_secrets(uri) == uri


@pytest.mark.parametrize(
    ("uri", "said", "shown"),
    [
        ("http://me:pw@h", "no answer from http://me:pw@h/api/2.0", "no answer from http://***@h/api/2.0"),
        ("postgresql://me:a%40b@h/db", "login me:a@b refused, a%40b", "login *** refused, ***"),
        ("postgresql://me:a@b@h/db", "login a%40b refused", "login *** refused"),
        ("https://token@h", "user 'token' is unknown", "user '***' is unknown"),
        ("https://h/?token=abc&x", "GET /api?token=abc&x: abc is no token", "GET /api?***: *** is no token"),
        ("mysql://me:db@h/x", "dbapi: access denied for me, db", "dbapi: access denied for me, ***"),
        ("sqlite:////tmp/mlflow.db", "/tmp/mlflow.db is locked", "/tmp/mlflow.db is locked"),
    ],
)
def test_what_mlflow_says_is_printed_without_secrets(uri: str, said: str, shown: str) -> None:
    assert hide_secrets_in(said, uri) == shown
    assert str(unavailable(uri, OSError(f"\n {said}\nand more"))) == f"MLflow at {hide_secrets(uri)}: {shown}"


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:secret@127.0.0.1:9",
        "http://secret@127.0.0.1:9",
        "http://127.0.0.1:9/?token=secret",
        "postgresql+nodriver://me:secret@host/db",
        "nothing://me:secret@host/?token=secret",
        "mysql://me:secret@[host",
    ],
)
def test_errors_of_mlflow_itself_carry_no_secret(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(TrackingUnavailable) as caught:
        open_client(uri)
    assert str(caught.value).startswith(f"MLflow at {hide_secrets(uri)}: ") and "secret" not in str(caught.value)
