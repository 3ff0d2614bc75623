"""Runs the benchmarks one after the other and writes their figures into README.md beside this file.

    python benchmarks/run.py [--size smoke|regular] [--only NAME ...] [--data FOLDER] [--peers FOLDER]

Each script runs in a process of its own, with nothing beside it. What it measured replaces its earlier figures in
figures.json; the tables of README.md are made of all that is there, one of processors that multiply bf16 and one of
those that do not: they differ too much to replace each other. At smoke size nothing is written: figures of small
models say nothing.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from measuring import Row, figure, has_bf16

HERE = Path(__file__).parent
SCRIPTS = (
    "images",
    "zeroshot",
    "captions",
    "retrieval",
    "pretraining",
    "probing",
    "video",
    "starting",
    "scaling",
    "precision",
)
FIGURES, README = HERE / "figures.json", HERE / "README.md"
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"


def run_script(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """What a script's last line says; its other lines are shown as they come."""
    words = [sys.executable, "-W", "ignore", str(HERE / f"{name}.py"), "--size", options.size]
    for option in ("data", "peers", "rounds"):
        value = getattr(options, option)
        words += [f"--{option}", str(value)] if value is not None else []
    last = ""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.startswith("{"):
                print(line, end="", flush=True)
            last = line
    if process.returncode:
        raise SystemExit(f"{name}: exit code {process.returncode}")
    found: dict[str, Any] = json.loads(last)
    return found


def write_table(found: dict[str, dict[str, Any]]) -> str:
    """Markdown: the machines, then a row for each figure; processors without bf16 have a table of their own."""
    elsewhere = {name: one for name, one in found.items() if name not in SCRIPTS}
    first = _table({name: one for name, one in found.items() if name in SCRIPTS})
    missing = [name for name in SCRIPTS if name not in found]
    first += f"\nNo figures here yet: {', '.join(missing)}.\n" if missing else ""
    return f"{first}\n{_table(elsewhere)}" if elsewhere else first


def _table(found: dict[str, dict[str, Any]]) -> str:
    lines = []
    for machine in dict.fromkeys(json.dumps(one["machine"] | {"date": ""}) for one in found.values()):
        told = json.loads(machine)
        dates = sorted({o["machine"]["date"] for o in found.values() if o["machine"] | {"date": ""} == told})
        days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
        versions = ", ".join(f"{name} {version}" for name, version in told["versions"].items())
        kind = f" ({told['instructions']})" if told.get("instructions") else ""
        gpu = f", {told['gpu']}" if told.get("gpu") else ""
        lines.append(
            f"Measured {days} on {told['cores']} cores of an {told['cpu']}{kind} with {told['memory']}{gpu}; Python "
            f"{told['python']}, {versions}.\n"
        )
    lines += ["| what | against | measured | lowest and highest | aim | |", "| --- | --- | ---: | ---: | ---: | --- |"]
    for name in sorted(found, key=lambda name: SCRIPTS.index(name.split(",")[0])):
        for fields in found[name]["rows"]:
            row = Row(**fields)
            aim = "" if row.target is None else f"{'≥' if row.at_least else '≤'} {figure(row.target)}"
            met = {None: "", True: "met", False: "**not met**"}[row.met]
            detail = "; ".join(filter(None, (row.detail, row.equal)))
            spread = f"{figure(row.low)} to {figure(row.high)}"
            cells = (
                f"{row.what}<br><sub>{detail}</sub>",
                row.against,
                f"{figure(row.value)} {row.unit}",
                spread,
                aim,
                met,
            )
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def rewrite(readme: str, table: str) -> str:
    """The page with another table between its marks."""
    before, rest = readme.split(BEGIN, 1)
    return before + BEGIN + table + END + rest.split(END, 1)[1]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=["smoke", "regular"], default="regular")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS)
    parser.add_argument("--rounds", type=int, help="how often each side runs; without it what each script finds enough")
    parser.add_argument("--data", type=Path, help="real pictures and clips; without it COCA_TEST_DATA")
    parser.add_argument("--peers", type=Path, help="older packages that peers need: `make bench` installs them")
    options = parser.parse_args(arguments)
    found: dict[str, dict[str, Any]] = json.loads(FIGURES.read_text()) if FIGURES.exists() else {}
    for name in options.only:
        print(f"\n== {name}", flush=True)
        measured = run_script(name, options)
        if options.size == "regular":
            found[name if has_bf16() else f"{name}, without bf16"] = measured
            FIGURES.write_text(json.dumps(found, indent=1) + "\n")
            README.write_text(rewrite(README.read_text(), write_table(found)))


if __name__ == "__main__":
    main()
