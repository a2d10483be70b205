"""Registries of names: what packages bring beside the built-in ones, and how a package that cannot be used is told."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from catalog import plugins
from catalog.errors import PluginError, SettingError
from catalog.plugins import Registry

GROUP = "lorauter.tests"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages, first on the path."""
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def install(site: Path, package: str, code: str = "", **entry_points: str) -> None:
    """What an installer leaves of a package of one module, version 1.0; `entry_points` by name."""
    metadata = site / f"{package}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in entry_points.items()]
    (metadata / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]) + "\n")
    (site / f"{package}.py").write_text(code)
    sys.modules.pop(package, None)


def registry(**options: object) -> Registry[str]:
    return Registry(GROUP, "colour", {"red": "#f00"}, "a text", lambda one: isinstance(one, str), **options)  # type: ignore[arg-type]


def test_packages_names_stand_beside_the_built_in_ones(site: Path) -> None:
    install(site, "paints", "BLUE = '#00f'", blue="paints:BLUE")

    colours = registry()

    assert dict(colours) == {"red": "#f00", "blue": "#00f"}
    assert (colours.package("blue"), colours.package("red")) == ("paints 1.0", "")
    assert colours.brought == ("blue",)


def test_a_built_in_name_looks_at_no_package(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)  # whoever imports it fails

    assert ("red" in registry(), registry()["red"], registry().package("red")) == (True, "#f00", "")


def test_a_package_is_imported_when_its_own_name_is_used(site: Path) -> None:
    install(site, "paints", "BLUE = '#00f'", blue="paints:BLUE")
    colours = registry()

    known = "blue" in colours, "green" in colours, list(colours)

    assert (known, "paints" in sys.modules) == ((True, False, ["red", "blue"]), False)


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import colour_theory", "does not load (ModuleNotFoundError: No module named 'colour_theory')."),
        ("1 / 0", "does not load (ZeroDivisionError: division by zero)."),
        ("", "does not load (AttributeError: module 'paints' has no attribute 'BLUE')."),
        ("raise SystemExit(3)", "does not load (SystemExit: 3)."),
        ("BLUE = 5", "is of type int and not a text."),
    ],
)
def test_a_broken_package_is_told_by_its_own_name_alone(site: Path, code: str, told: str) -> None:
    install(site, "paints", code, blue="paints:BLUE")
    colours = registry()

    with pytest.raises(PluginError) as raised:
        colours["blue"]

    assert raised.value.cause == f"The colour 'blue' of paints 1.0 (entry point paints:BLUE) {told}"
    assert colours["red"] == "#f00"


def test_what_a_package_prints_as_it_is_imported_is_no_output_of_ours(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(site, "paints", "print('Welcome to paints!')\nBLUE = '#00f'", blue="paints:BLUE")

    assert registry()["blue"] == "#00f"
    assert tuple(capsys.readouterr()) == ("", "Welcome to paints!\n")


def test_a_package_whose_import_takes_long_is_named_meanwhile(
    site: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(plugins, "SLOW", 0.05)
    install(site, "paints", "import time\ntime.sleep(0.5)\nBLUE = '#00f'", blue="paints:BLUE")

    with caplog.at_level(logging.WARNING):
        assert registry()["blue"] == "#00f"

    assert caplog.messages == [
        "The colour 'blue' of paints 1.0 (entry point paints:BLUE) is still being imported after 0.05 s. "
        "Ctrl-C ends it; pip uninstall paints."
    ]


def test_working_names_leave_a_broken_package_out_and_tell_it(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "paints", "GREEN = '#0f0'", blue="paints:BLUE", green="paints:GREEN")

    with caplog.at_level(logging.WARNING):
        working = dict(registry().working())

    assert working == {"red": "#f00", "green": "#0f0"}
    assert caplog.messages == [
        "The colour 'blue' of paints 1.0 (entry point paints:BLUE) does not load (AttributeError: module 'paints' has "
        "no attribute 'BLUE'). Update the package or mend it, or uninstall it: pip uninstall paints."
    ]


def test_a_name_that_is_taken_stays_as_it_was_and_is_told_once(site: Path, caplog: pytest.LogCaptureFixture) -> None:
    install(site, "paints", "RED = '#e00'", red="paints:RED", any="paints:RED", blue="paints:RED")
    colours = registry(also={"blue": "#00f"}, reserved=("any",))

    with caplog.at_level(logging.WARNING):
        names = [*colours, *colours]

    assert names == ["red", "blue"] * 2
    assert (colours["red"], colours["blue"], "any" in colours) == ("#f00", "#00f", False)
    assert caplog.messages == list(colours.faults)
    assert [fault.partition(" of ")[0] for fault in colours.faults] == [
        *("The colour 'any'", "The colour 'blue'", "The colour 'red'")
    ]


def test_two_packages_of_one_name_are_told_when_it_is_used(site: Path) -> None:
    install(site, "paints", "BLUE = '#00f'", blue="paints:BLUE")
    install(site, "inks", "BLUE = '#00e'", blue="inks:BLUE")

    with pytest.raises(PluginError, match=r"inks 1\.0 and paints 1\.0 both bring a colour 'blue'\. Uninstall"):
        registry()["blue"]


def test_a_name_that_nobody_brings_is_told_with_all_there_are(site: Path) -> None:
    install(site, "paints", "BLUE = '#00f'", blue="paints:BLUE")

    with pytest.raises(SettingError) as raised:
        registry().check("green", ("none",))

    assert str(raised.value) == "There is no colour 'green'. Choose one of: red, blue, none."


def test_what_was_planned_with_another_package_is_refused(site: Path) -> None:
    install(site, "paints", "BLUE = '#00f'", blue="paints:BLUE")
    colours = registry()

    colours.check_package("blue", "paints 1.0")
    colours.check_package("red", "")

    for name, package, here in (
        ("blue", "paints 0.9", "planned as paints 0.9 brings it, and is brought by paints 1.0 here"),
        ("red", "paints 1.0", "planned as paints 1.0 brings it, and is built in here"),
        ("green", "inks 2.0", "planned as inks 2.0 brings it, and is not installed here"),
    ):
        with pytest.raises(SettingError, match=here):
            colours.check_package(name, package)
