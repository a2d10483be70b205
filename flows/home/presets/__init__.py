"""Presets: settings files that come with the package, by name. Knows where they lie; does not know what they say."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from catalog.errors import SettingError

SUFFIX = ".toml"


def config_file(named: str) -> Path:
    """The file of that path, or the preset of that name. Raises SettingError listing the presets."""
    folder = Path(str(files("flows.home.presets")))
    for path in (Path(named).expanduser(), folder / f"{named}{SUFFIX}"):
        if path.is_file():
            return path.absolute()
    known = ", ".join(sorted(path.stem for path in folder.glob(f"*{SUFFIX}")))
    raise SettingError(f"There is no settings file {named!r}.", f"Name a toml file, or a preset: {known}.")
