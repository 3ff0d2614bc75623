"""Prompt templates for sets that bring none of their own."""

from __future__ import annotations

GENERAL_TEMPLATES = (
    "a photo of a {c}.",
    "a photo of the {c}.",
    "a picture of a {c}.",
    "a close-up photo of a {c}.",
    "a photo of a small {c}.",
    "a photo of a large {c}.",
    "{c}.",
)
