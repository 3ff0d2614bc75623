"""The templates that CLIP's authors publish for sets of human actions (github.com/openai/CLIP, data/prompts.md)."""

from __future__ import annotations

_KINDS = ("photo", "video", "example", "demonstration")
_VERBS = ("", " using", " doing", " during", " performing", " practicing")

KINETICS_TEMPLATES = tuple(
    f"a {kind} of{who} {{c}}." for kind in _KINDS for who in ("", *(f" a person{verb}" for verb in _VERBS))
)
"""28 sentences, for Kinetics-700."""

UCF101_TEMPLATES = tuple(
    f"a {kind} of {article} person{verb} {{c}}." for verb in _VERBS for article in ("a", "the") for kind in _KINDS
)
"""48 sentences, for UCF101."""
