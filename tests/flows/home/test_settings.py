"""Settings: what wins over what, and what a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.errors import SettingError
from flows.cli.main import cli
from flows.home.home import open_home
from flows.home.settings import load_settings
from lorauter.routing.routes import RouterOptions


def test_arguments_win_over_the_environment_over_the_named_file_over_the_homes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lorauter.toml").write_text('base = "home/base"\nencoder = "home/encoder"\nendpoint = "http://home"\n')
    named = tmp_path / "named.toml"
    named.write_text('encoder = "named/encoder"\nendpoint = "http://named"\n')
    monkeypatch.setenv("LORAUTER_CONFIG", str(named))
    monkeypatch.setenv("LORAUTER_ENDPOINT", "http://environment")

    settings = load_settings(home=tmp_path)

    assert (settings.base, settings.encoder, settings.endpoint) == ("home/base", "named/encoder", "http://environment")
    assert load_settings(home=tmp_path, endpoint="http://argument").endpoint == "http://argument"


def test_lists_come_as_text_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAUTER_POLICY__LICENCES", "mit, apache-2.0")
    monkeypatch.setenv("LORAUTER_POLICY__RANK_MISMATCH", "true")
    monkeypatch.setenv("LORAUTER_HALVING__RUNGS", "2,4")

    settings = load_settings(home=tmp_path)

    assert settings.policy.licences == ("mit", "apache-2.0")
    assert settings.policy.rank_mismatch
    assert settings.halving.rungs == (2, 4)


def test_filters_of_routes_come_as_text_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAUTER_ROUTING__LICENCES", "mit, apache-2.0")
    monkeypatch.setenv("LORAUTER_ROUTING__AUTHORS", "")
    monkeypatch.setenv("LORAUTER_ROUTING__MAX_BYTES", "1.5GiB")

    routing = load_settings(home=tmp_path).routing

    assert routing == RouterOptions(licences=("mit", "apache-2.0"), max_bytes=1610612736)


@pytest.mark.parametrize("written", ["1,5GiB", "50 MB more", "-3", "many", "5 XB", ""])
def test_a_size_that_is_none_is_refused(tmp_path: Path, written: str) -> None:
    with pytest.raises(SettingError, match="is no size: write bytes, 50MB or"):
        load_settings(home=tmp_path, routing={"max_bytes": written})


def test_the_token_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAUTER_TOKEN", "hf_secret")

    settings = load_settings(home=tmp_path)

    assert settings.hub_token == "hf_secret"
    assert "hf_secret" not in repr(settings) + str(settings.model_dump())


def test_a_name_that_no_setting_has_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "lorauter.toml").write_text('bass = "a/b"\n')

    with pytest.raises(SettingError, match="Setting BASS: Extra inputs are not permitted"):
        load_settings(home=tmp_path)


def test_a_base_from_before_ids_had_owners_is_named_in_full() -> None:
    settings = load_settings(base="gpt2", bases=("distilgpt2", "org/model"))
    assert (settings.base, settings.bases) == ("openai-community/gpt2", ("distilbert/distilgpt2", "org/model"))


def test_lists_and_aliases_come_from_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAUTER_BASES", "org/a, org/b")
    monkeypatch.setenv("LORAUTER_TARGETS", "author:ann,tag:medical")
    monkeypatch.setenv("LORAUTER_ALIASES", '{"me/copy": "org/a"}')
    settings = load_settings()
    assert (settings.bases, settings.targets) == (("org/a", "org/b"), ("author:ann", "tag:medical"))
    assert settings.aliases == {"me/copy": "org/a"}


def test_a_worker_is_told_the_home_only_where_it_holds_what_is_shared(tmp_path: Path) -> None:
    homes = [open_home(home=tmp_path / "home", storage=s) for s in ("", str(tmp_path / "home/x"), str(tmp_path / "y"))]
    homes.append(open_home(home=tmp_path / "home", storage="s3://bucket/x"))
    assert ["home" in home.worker_reference for home in homes] == [True, True, False, False]
    assert [home.worker_reference["storage"] for home in homes] == [
        "",
        str(tmp_path / "home/x"),
        str(tmp_path / "y"),
        "s3://bucket/x",
    ]
    assert all(home.reference["home"] == str(tmp_path / "home") for home in homes)


def test_a_storage_url_with_credentials_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAUTER_STORAGE", "s3://AKIA:secret@bucket/x")
    with pytest.raises(SettingError, match="holds credentials") as caught:
        load_settings(home=tmp_path)
    assert "secret" not in f"{caught.value}"


def test_a_token_read_from_a_file_may_end_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_machine\n")
    assert load_settings(home=tmp_path).hub_token == "hf_machine"
    assert load_settings(home=tmp_path, token=" hf_ours\r\n").hub_token == "hf_ours"


def test_the_machines_token_goes_to_its_own_hub_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_machine")
    sent = [load_settings(home=tmp_path, endpoint=hub).hub_token for hub in (None, "https://hub.example")]
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example/")
    then = [load_settings(home=tmp_path, endpoint=hub).hub_token for hub in (None, "https://hub.example")]
    assert (sent, then) == (["hf_machine", None], [None, "hf_machine"])


@pytest.mark.parametrize("token", ["hf_é", "hf_x\r\nX-Evil: 1", "hf x"])
def test_a_token_that_is_none_is_told_and_not_shown(tmp_path: Path, token: str) -> None:
    with pytest.raises(SettingError, match="token") as raised:
        _ = load_settings(home=tmp_path, token=token).hub_token
    assert token not in str(raised.value)


@pytest.mark.parametrize("endpoint", ["hub.example:8000", "https://ann:secret@hub.example", "ftp://hub.example", ""])
def test_an_endpoint_that_is_no_address_is_told_before_it_is_asked(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(SettingError, match=r"Setting ENDPOINT: .*https://") as raised:
        load_settings(home=tmp_path, endpoint=endpoint)
    assert "secret" not in str(raised.value)


def test_a_strategy_that_nobody_brings_is_told_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as raised:
        load_settings(home=tmp_path, strategy="fastest")

    assert raised.value.cause == (
        "Setting STRATEGY: Value error, there is no strategy 'fastest': use one of racing, halving, exhaustive."
    )


def test_a_strategy_on_the_command_line_that_nobody_brings_is_wrong_use(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli, ["--home", str(tmp_path), "score", "--strategy", "fastest"])

    assert (done.exit_code, "'fastest' is not one of 'racing', 'halving', 'exhaustive'" in done.output) == (2, True)
