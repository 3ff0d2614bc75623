"""Lines of `coca doctor`: a word, a subject, and what was found, which goes on below itself."""

from __future__ import annotations

import textwrap

from rich.text import Text

from coca_cli.printable import printable

STYLES = {"ok": "green", "note": "cyan", "problem": "bold red"}
STATE_WIDTH, SUBJECT_WIDTH = 9, 13
NARROWEST = 20


def render_finding(state: str, subject: str, text: str, width: int) -> Text:
    """One finding, to be printed with soft wraps: what is to be copied may be longer than a line.

    Args:
        state: ok, note or problem; a word, so that it is read aloud and needs no colour.
        subject: What was looked at.
        text: What was found; what shall stay in one line, such as a command, has no-break spaces.
        width: Letters of a line.
    """
    indent = STATE_WIDTH + SUBJECT_WIDTH
    room = max(NARROWEST, width - indent - 1)
    lines = textwrap.wrap(printable(text), room, break_long_words=False, break_on_hyphens=False) or [""]
    found = Text(f"{state:{STATE_WIDTH}}", style=STYLES[state])
    found.append(f"{subject:{SUBJECT_WIDTH}}", style="")
    found.append(f"\n{' ' * indent}".join(lines).replace("\xa0", " "), style="not bold default")
    return found
