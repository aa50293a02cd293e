"""Settings are shown with their meaning, and never with a password."""

from __future__ import annotations

import pytest

from fhir_server.cli.faults import WRONG_USE, CannotRun
from fhir_server.cli.settings import read_settings, rows, show, unknown_variables, without_secrets
from fhir_server.config import Settings


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("mongodb://db.example:27017", "mongodb://db.example:27017"),
        ("mongodb://user:s3cret@db.example/?tls=true", "mongodb://user:***@db.example/?tls=true"),
        ("mongodb+srv://user:p%40ss@db.example", "mongodb+srv://user:***@db.example"),
        ("mongodb://user:@a,b,c/?replicaSet=rs", "mongodb://user:***@a,b,c/?replicaSet=rs"),
        (
            "mongodb://h/?tlsCertificateKeyFilePassword=s3cret&tls=true",
            "mongodb://h/?tlsCertificateKeyFilePassword=***&tls=true",
        ),
        (
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:s3cret",
            "mongodb://h/?authMechanismProperties=***",
        ),
    ],
)
def test_passwords_of_a_uri_are_masked(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown


def test_every_setting_has_a_meaning_a_default_and_the_value_of_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_PORT", "9001")
    monkeypatch.setenv("FHIR_MONGODB_URI", "mongodb://user:s3cret@db.example")
    table = {row.name: row for row in rows(read_settings())}
    assert set(table) == {f"FHIR_{name.upper()}" for name in Settings.model_fields}
    assert all(row.meaning and row.default for row in table.values())
    assert (table["FHIR_PORT"].default, table["FHIR_PORT"].value, table["FHIR_PORT"].changed) == ("8080", "9001", True)
    assert table["FHIR_MONGODB_URI"].value == "mongodb://user:***@db.example"


def test_an_option_of_the_command_goes_before_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_PORT", "9001")
    assert read_settings(port=9002, host=None).port == 9002


def test_a_wrong_value_is_told_by_its_variable_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FHIR_PORT", "s3cret")
    with pytest.raises(CannotRun, match=r"^FHIR_PORT: ") as told:
        read_settings()
    assert told.value.code == WRONG_USE
    assert "s3cret" not in str(told.value)


def test_a_misspelt_variable_is_noticed() -> None:
    assert unknown_variables({"FHIR_PROT": "1", "FHIR_PORT": "1", "HOME": "/"}) == ["FHIR_PROT"]


def test_outside_a_terminal_settings_are_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    show(Settings(port=9003))
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("FHIR_PORT\t"))
    assert line.split("\t")[2:] == ["8080", "9003"]
