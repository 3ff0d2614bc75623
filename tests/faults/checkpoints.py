"""Model folders that were copied badly, made by others, or made to do harm."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
MARK = "it-ran"
"""A file that a bomb makes when it runs, in the working folder."""


class Bomb:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, (f"touch {MARK}",)


def with_header(header: bytes, size: int | None = None, body: bytes = b"") -> bytes:
    """A safetensors file with this header, and the length that it claims for it."""
    return struct.pack("<Q", len(header) if size is None else size) + header + body


def _described(name: str, **fields: Any) -> bytes:
    return json.dumps({name: {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]} | fields}).encode()


def spoiled_weights() -> dict[str, bytes]:
    """Contents for the weights file, none of which is a model."""
    body = bytes(16)
    return {
        "empty": b"",
        "seven bytes": bytes(7),
        "a page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
        "a pickle": pickle.dumps({"a": Bomb()}),
        "a header of 2^63 bytes": with_header(b"{}", 2**63),
        "a header of 10^12 bytes": with_header(b"{}", 10**12),
        "a header of 90 megabytes": with_header(b"{" + b" " * 90_000_000 + b"}"),
        "a header that is no JSON": with_header(b"{'a': 1}"),
        "a header that is a list": with_header(b"[]"),
        "a header nested too deep": with_header(b"[" * 100_000),
        "no tensors": with_header(b"{}"),
        "an unknown format": with_header(_described("a", dtype="F33"), body=body),
        "a negative shape": with_header(_described("a", shape=[-2, 2]), body=body),
        "a shape beyond all memory": with_header(_described("a", shape=[2**40, 2**40]), body=body),
        "offsets beyond the end": with_header(_described("a", data_offsets=[0, 10**9]), body=body),
        "offsets turned round": with_header(_described("a", data_offsets=[16, 0]), body=body),
        "bytes that are no tensor's": with_header(_described("a"), body=body * 2),
        "other weights": with_header(_described("visual.proj"), body=body),
    }


def changed_weights(folder: Path) -> dict[str, Callable[[], object]]:
    """Changes of a sound folder's weights, each of which its loading must refuse."""
    path = folder / WEIGHTS

    def save(**changed: torch.Tensor) -> None:
        save_file(load_file(path) | changed, path)

    def drop(name: str) -> None:
        save_file({k: v for k, v in load_file(path).items() if k != name}, path)

    def spoil(value: float) -> Callable[[], None]:
        def run() -> None:
            weights = load_file(path)
            first = sorted(weights)[0]
            weights[first].view(-1)[-1] = value
            save_file(weights, path)

        return run

    name = sorted(load_file(path))[0]
    shape = load_file(path)[name].shape
    return {
        "a missing tensor": lambda: drop(name),
        "one tensor more": lambda: save(**{"text.surprise": torch.zeros(3)}),
        "another shape": lambda: save(**{name: torch.zeros(*shape, 2)}),
        "a turned shape": lambda: save(**{name: torch.zeros(shape[::-1] if len(set(shape)) > 1 else (1, *shape))}),
        "no values": lambda: save(**{name: torch.zeros(0)}),
        "not a number": spoil(float("nan")),
        "infinite": spoil(float("inf")),
        "infinite below": spoil(float("-inf")),
        "half": lambda: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
        "without its last byte": lambda: path.write_bytes(path.read_bytes()[:-1]),
        "no file": path.unlink,
        "a folder in its place": lambda: (path.unlink(), path.mkdir()),
    }


def spoiled_pickles() -> dict[str, bytes]:
    """Contents for a .pt file; none may run, and none is a state dict."""

    def saved(value: Any) -> bytes:
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()

    def zipped(content: bytes) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3")
        return buffer.getvalue()

    outside = io.BytesIO()
    with zipfile.ZipFile(outside, "w") as archive:
        archive.writestr("../../evil", "x")
    bomb = {"weight": torch.zeros(2), "bomb": Bomb()}
    return {
        **{f"a bomb, protocol {protocol}": pickle.dumps(bomb, protocol) for protocol in range(6)},
        "a bomb that torch saved": saved(bomb),
        "a bomb in a state dict": saved({"state_dict": {"weight": Bomb()}}),
        "a bomb in an archive": zipped(pickle.dumps(Bomb())),
        "a bomb in an archive, protocol 5": zipped(pickle.dumps(Bomb(), 5)),
        "names that lead outside": outside.getvalue(),
        "a list": saved([torch.zeros(2)]),
        "a tensor": saved(torch.zeros(2)),
        "a model": saved(torch.nn.Linear(2, 2)),
        "numbers": saved({"weight": 1.0}),
        "nothing in it": saved({}),
        "half": saved({"weight": torch.zeros(2000)})[:3000],
        "empty": b"",
        "a page": b"<!DOCTYPE html><html></html>",
        "recursion": b"(" * 100_000,
    }
