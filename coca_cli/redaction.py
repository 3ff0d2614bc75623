"""Passwords and tokens in what a user typed: left out of whatever is written down."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
_NAMES = r"[\w.-]*(?:token|secret|password|passwd|signature|credential|api[-_]?key|access[-_]?key)[\w.-]*|sig|key"
_PATTERNS = (
    re.compile(r"(?P<kept>\b[a-z][a-z0-9+.-]*://)[^/\s@'\"]+(?=@)", re.IGNORECASE),  # https://USER:PASSWORD@HOST
    re.compile(rf"(?P<kept>[?&](?:{_NAMES})=)[^&\s'\"]+", re.IGNORECASE),  # ...?token=X
    re.compile(r"(?P<kept>\b(?:proxy-)?authorization\s*:\s*)[^'\"]+", re.IGNORECASE),  # curl -H 'Authorization: X'
    re.compile(r"(?P<kept>\bx-[\w-]*(?:token|key|auth)[\w-]*\s*:\s*)[^'\"]+", re.IGNORECASE),
    re.compile(r"(?P<kept>\b\w*(?:TOKEN|SECRET|PASSWORD|API_KEY)\w*=)[^\s'\"]+"),  # TOKEN=X command
    re.compile(r"(?P<kept>)\b(?:hf_\w{20,}|gh[pousr]_\w{20,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16})\b"),
)


def without_secrets(text: str) -> str:
    """The text with passwords in addresses, tokens in queries and headers, and keys of usual forms as `***`."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\g<kept>{HIDDEN}", text)
    return text


def all_without_secrets(value: Any) -> Any:
    """The same for every text in dicts and lists, keys of dicts included."""
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, Mapping):
        return {all_without_secrets(key): all_without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [all_without_secrets(item) for item in value]
    return value


def typed_command() -> str:
    """The command line of this process as it was typed, without secrets, to be typed again."""
    return shlex.join(["coca", *map(without_secrets, sys.argv[1:])])
