from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from coca_cli.datasets import find_dataset
from coca_cli.datasets.example import Dataset
from coca_cli.errors import CocaError, UnknownName
from coca_cli.registry import Registry, unknown_name


@dataclass(frozen=True)
class Fruit:
    name: str


@dataclass(frozen=True)
class Nut:
    name: str


MakeRegistry = Callable[[dict[str, str]], "Registry[Fruit | Nut]"]


@pytest.fixture
def make_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> MakeRegistry:
    """Makes a registry over a new package that holds the given modules; each may use Fruit and Nut."""

    def make(modules: dict[str, str]) -> Registry[Fruit | Nut]:
        package = f"larder_{abs(hash(request.node.nodeid))}"
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("")
        for name, text in modules.items():
            (tmp_path / package / f"{name}.py").write_text(f"from larder_kinds import Fruit, Nut\n{text}\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setitem(sys.modules, "larder_kinds", sys.modules[__name__])
        importlib.invalidate_caches()
        return Registry(package, (Fruit, Nut), "food")

    return make


def test_entries_are_found_by_walking_the_package(make_registry: MakeRegistry) -> None:
    registry = make_registry({"b": "PEAR = Fruit('pear')", "a": "X = Nut('walnut')\n_Y = Fruit('apple')\nZ = 'text'"})
    assert registry.names() == ("apple", "pear", "walnut")
    assert registry.entries() == (Fruit("apple"), Fruit("pear"), Nut("walnut"))
    assert registry.get("walnut") == Nut("walnut")


def test_an_empty_package_has_no_entries(make_registry: MakeRegistry) -> None:
    assert make_registry({}).names() == ()


def test_an_entry_may_be_imported_by_its_neighbour(make_registry: MakeRegistry) -> None:
    registry = make_registry({"a": "PEAR = Fruit('pear')", "b": "import importlib\nfrom .a import PEAR"})
    assert registry.names() == ("pear",)


def test_two_entries_of_one_name_are_a_mistake(make_registry: MakeRegistry) -> None:
    registry = make_registry({"a": "X = Fruit('pear')", "b": "X = Nut('pear')"})
    with pytest.raises(RuntimeError, match=r"two entries of larder_.* are named 'pear'"):
        registry.names()


def test_an_unknown_name_says_what_is_near_and_what_exists(make_registry: MakeRegistry) -> None:
    registry = make_registry({"a": "X = Fruit('pear')\nY = Fruit('plum')"})
    with pytest.raises(UnknownName) as error:
        registry.get("Paer")
    assert str(error.value) == "unknown food 'Paer'. Did you mean pear? Known: pear, plum."


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("imagnet", "unknown dataset 'imagnet'. Did you mean imagenet or imagenet-v2? Known: imagenet, imagenet-v2."),
        ("IMAGENET", "unknown dataset 'IMAGENET'. Did you mean imagenet or imagenet-v2? Known: imagenet, imagenet-v2."),
        ("flowers", "unknown dataset 'flowers'. Known: imagenet, imagenet-v2."),
        ("", "unknown dataset ''. Known: imagenet, imagenet-v2."),
    ],
)
def test_the_message_for_an_unknown_name(name: str, message: str) -> None:
    assert unknown_name("dataset", name, ["imagenet-v2", "imagenet"]) == message


def test_a_dataset_is_found_by_its_name() -> None:
    assert find_dataset("digits").name == "digits"


def test_a_scheme_opens_what_follows_the_colon(tmp_path: Path) -> None:
    for word in ("cat", "dog"):
        (tmp_path / word).mkdir()
        (tmp_path / word / "a.png").write_bytes(b"")
    assert isinstance(find_dataset(f"folder:{tmp_path}"), Dataset)


def test_an_unknown_dataset_says_which_exist() -> None:
    with pytest.raises(UnknownName, match=r"unknown dataset 'digit'\. Did you mean digits\? Known: .*folder:"):
        find_dataset("digit")


def test_a_path_alone_is_told_what_to_write_before_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.touch()
    with pytest.raises(UnknownName, match=rf"but a folder is: folder:{tmp_path} reads its pictures by class"):
        find_dataset(str(tmp_path))
    with pytest.raises(UnknownName, match=rf"but a file is: captions:{file} reads captioned pictures from it"):
        find_dataset(str(file))
    for odd in ("x" * 5000, "~nobody-here/x", "a\0b"):
        with pytest.raises(UnknownName, match="unknown dataset"):
            find_dataset(odd)


def test_a_dataset_with_something_after_a_colon_is_refused() -> None:
    with pytest.raises(CocaError, match="dataset 'digits' takes nothing after a colon; use -d digits"):
        find_dataset("digits:test")


@pytest.mark.parametrize("name", ["folder", "folder:"])
def test_a_scheme_without_its_argument_is_refused(name: str) -> None:
    with pytest.raises(CocaError, match="folder needs to know where the data are: -d folder:PATH"):
        find_dataset(name)
