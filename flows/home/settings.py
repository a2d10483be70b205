"""Settings: from arguments, LORAUTER_* in the environment, the file LORAUTER_CONFIG names, the home's lorauter.toml.

The first that says something wins.

Knows: every setting's name and default. Does not know: what floors do with the frozen options it hands them.

    LORAUTER_HOME=~/catalog LORAUTER_POLICY__LICENCES=mit,apache-2.0 lorauter refresh
    LORAUTER_CONFIG=my.toml lorauter refresh          # keys as below, tables [policy], [racing], [routing], [plan], …
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from catalog.bases.names import canonical
from catalog.errors import SettingError
from catalog.hub.budget import PUBLIC_ENDPOINT
from catalog.publish_gate import Gate
from catalog.rules.table import Policy
from flows.home.byte_size import bytes_of
from flows.home.presets import config_file
from flows.plan.assumptions import Assumptions
from lorauter.bandit.options import PolicyOptions
from lorauter.racing.halving import HalvingOptions
from lorauter.racing.strategies import STRATEGIES, Racing, Strategy, StrategyOptions, open_strategy
from lorauter.routing.routes import RouterOptions
from warehouse.storage.url import checked_storage

DEFAULT_HOME = "~/.lorauter"
_ALWAYS = ("home", "storage", "endpoint", "base", "bases", "targets", "encoder", "encoder_prompt", "strategy")
"""Settings that are told to another process even where nobody set them: what a run is about must not differ."""


def _split(value: Any) -> Any:
    """Lets the environment give a list as text: LORAUTER_BASES=org/a,org/b."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _split_lists(options: type) -> Callable[[Any], Any]:
    """Lets the environment give a list as text: LORAUTER_POLICY__LICENCES=mit,apache-2.0."""
    lists = {field.name for field in fields(options) if isinstance(field.default, tuple)}

    def split(value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: _split(given) if name in lists else given for name, given in value.items()}

    return split


def _sized(value: Any) -> Any:
    """Lets a size be written as people do: LORAUTER_ROUTING__MAX_BYTES=50MB."""
    return {**value, "max_bytes": bytes_of(value.get("max_bytes"))} if isinstance(value, Mapping) else value


class Settings(BaseSettings):
    """All settings, checked. Field descriptions are what `lorauter doctor` and the README show."""

    model_config = SettingsConfigDict(env_prefix="LORAUTER_", env_nested_delimiter="__", extra="forbid")

    home: Path = Field(Path(DEFAULT_HOME), description="one folder for all state")
    storage: str = Field("", description="folder or URL that machines share: ledger and plans; in the home where unset")
    endpoint: str = Field(PUBLIC_ENDPOINT, description="address of the hub")
    token: SecretStr | None = Field(None, description="access token; HF_TOKEN where unset, for its own hub alone")
    base: str = Field("meta-llama/Llama-2-7b-hf", description="base model id")
    bases: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="further bases to crawl, validate, score and publish in the same run"
    )
    targets: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="what else to crawl: author:NAME, tag:NAME or repo:ORG/NAME; judged for the base each names"
    )
    aliases: dict[str, str] = Field({}, description="other names of bases: {other = canonical}")
    sweep_days: float = Field(7.0, ge=0, description="days between two full sweeps, which find what has gone")
    readers: int = Field(16, ge=1, le=64, description="most requests to the hub at once")
    page_size: int = Field(500, ge=1, le=1000, description="repos a listing page")
    base_revision: str = Field("main", description="revision of the base")
    encoder: str = Field("sentence-transformers/all-MiniLM-L6-v2", description="sentence encoder id")
    encoder_revision: str = Field("main", description="revision of the encoder")
    encoder_prompt: str = Field("", description="text put before whatever is embedded, as some encoders want it")
    encoder_dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="what queries are embedded in; task embeddings are float32 always"
    )
    device: str = Field("auto", description="cuda, cuda:N or cpu")
    dtype: str = Field("auto", description="bfloat16, float16 or float32")
    scoring: Literal["here", "workers"] = Field("here", description="where scoring shards run")
    shard_rows: int = Field(256, ge=1, description="rows of a scoring shard")
    worker_silence: float = Field(
        30.0, ge=10, description="seconds without a sign of life after which a worker's shard goes to another one"
    )
    answer_rows: int = Field(2048, ge=1, description="queries answered at a time: bounds a batch's memory")
    capacity: int = Field(64, ge=1, description="adapters held on the device")
    policy: Annotated[Policy, BeforeValidator(_split_lists(Policy))] = Policy()
    strategy: str = Field("racing", description="which evaluations scoring runs: see lorauter/racing/strategies")
    report: float = Field(
        0.4, gt=0, lt=1, description="share of a task's validation set that chooses nothing and scores the winner"
    )
    formats: Literal["task", "detected"] = Field(
        "detected", description="whether adapters race in the task's own prompt format alone, or in those they say too"
    )
    unconfirmed: Literal["publish", "base"] = Field(
        "publish", description="what a task publishes where held-back examples do not confirm the race's choice"
    )
    racing: Racing = Racing()
    halving: Annotated[HalvingOptions, BeforeValidator(_split_lists(HalvingOptions))] = HalvingOptions()
    routing: Annotated[RouterOptions, BeforeValidator(_sized), BeforeValidator(_split_lists(RouterOptions))] = (
        RouterOptions()
    )

    polar: PolicyOptions = PolicyOptions()
    fit: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        (), description="routers and gates that are trained after a publish: see lorauter fit"
    )
    fit_seconds: float = Field(3600.0, gt=0, description="most seconds of one training")
    fit_seed: int = Field(0, ge=0, description="of the draws of training")
    gate: Gate = Gate()
    with_weights: bool = Field(False, description="whether the published adapters' files travel with a snapshot")
    keep_snapshots: int = Field(0, ge=0, description="snapshots kept after a publish; 0: all")
    author: str = Field("", description="who pins, bans and notes adapters; the login name where unset")
    plan: Assumptions = Assumptions()

    @field_validator("base", "bases")
    @classmethod
    def _with_owner(cls, value: Any) -> Any:
        """Ids from before they had owners: gpt2 is openai-community/gpt2."""
        named = (value,) if isinstance(value, str) else value
        full = tuple(name if "/" in name else canonical(name) for name in named)
        return full[0] if isinstance(value, str) else full

    @field_validator("endpoint")
    @classmethod
    def _an_address(cls, value: str) -> str:
        """Errors and the ledger repeat it, so it holds no password."""
        if not re.fullmatch(r"https?://[^/@\s?#]+(/[^@\s?#]*)?", value):
            raise ValueError("an address begins with https:// or http://, and has no password in it")
        return value

    @field_validator("strategy")
    @classmethod
    def _a_strategy(cls, value: str) -> str:
        """Its package may bring it: not imported before it is used."""
        if value not in STRATEGIES:
            raise ValueError(f"there is no strategy {value!r}: use one of {', '.join(STRATEGIES)}")
        return value

    @field_validator("fit")
    @classmethod
    def _fits(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        """Better told before an hour of crawling."""
        if value:
            from lorauter.train.fits import check_fits

            try:
                check_fits(value)
            except SettingError as error:
                raise ValueError(f"{error.cause} {error.next_step}".removesuffix(".")) from error
        return value

    @field_validator("storage")
    @classmethod
    def _without_secrets(cls, value: str) -> str:
        """It goes to every worker through Prefect's database."""
        return checked_storage(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then environment, then the toml file."""
        files = [TomlConfigSettingsSource(settings_cls, toml_file=path) for path in _toml_files(init_settings)]
        return init_settings, env_settings, *files

    @property
    def chosen_strategy(self) -> Strategy:
        """The strategy with its settings."""
        return open_strategy(self.strategy, StrategyOptions(self.racing, self.halving))

    def told(self) -> dict[str, Any]:
        """The settings that were given, as another process or machine needs them to do alike: plain values, small
        enough for Prefect, and without the token. What nobody set stays open: the other's own settings decide it.
        """
        told: dict[str, Any] = self.model_dump(
            mode="json", exclude={"token"}, include={*self.model_fields_set, *_ALWAYS}
        )
        return told

    @property
    def hub_token(self) -> str | None:
        """The token to send: our setting, or the machine's HF_TOKEN where the endpoint is the hub it is for."""
        theirs = os.environ.get("HF_ENDPOINT") or PUBLIC_ENDPOINT
        machines = os.environ.get("HF_TOKEN", "") if theirs.rstrip("/") == self.endpoint.rstrip("/") else ""
        token = (self.token.get_secret_value() if self.token else machines).strip()
        if not re.fullmatch("[!-~]*", token):
            raise SettingError("The token has characters that no token has.", "Set LORAUTER_TOKEN (or HF_TOKEN) anew.")
        return token or None


def load_settings(**overrides: Any) -> Settings:
    """Settings with `overrides` on top; None means not given. Raises SettingError naming the setting."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)
    except ValidationError as error:
        first = error.errors()[0]
        name = "__".join(str(part) for part in first["loc"]).upper()
        raise SettingError(f"Setting {name}: {first['msg']}.", f"Set LORAUTER_{name}, or mend the toml file.") from None
    except (OSError, ValueError) as error:
        raise SettingError(f"The settings cannot be read ({error}).", "Mend the file in LORAUTER_CONFIG.") from error
    return settings.model_copy(update={"home": settings.home.expanduser().absolute()})


def _toml_files(arguments: PydanticBaseSettingsSource) -> list[Path]:
    """The file or preset that LORAUTER_CONFIG names, then the home's own lorauter.toml."""
    found = []
    named = os.environ.get("LORAUTER_CONFIG")
    if named:
        found.append(config_file(named))
    home = arguments().get("home") or os.environ.get("LORAUTER_HOME") or DEFAULT_HOME
    own = Path(home).expanduser() / "lorauter.toml"
    return [*found, own] if own.is_file() else found
