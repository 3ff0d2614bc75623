"""What `coca data list` prints."""

from __future__ import annotations

from collections.abc import Sequence

from coca_cli.datasets.example import Dataset, Scheme


def describe_datasets(entries: Sequence[Dataset | Scheme]) -> str:
    """One paragraph per dataset: name, task, splits, protocols, source, licence, and the files it expects.

    Args:
        entries: Datasets and schemes, in the order to print.
    """
    datasets = [entry for entry in entries if isinstance(entry, Dataset)]
    schemes = [entry for entry in entries if isinstance(entry, Scheme)]
    built_in = [describe_dataset(d) for d in datasets if d.built_in]
    on_disk = [describe_dataset(d) for d in datasets if not d.built_in]
    yours = [f"{s.name}:{s.argument}  {s.description}\n{_indent(s.layout)}" for s in schemes]
    parts = [
        "Built in, nothing to fetch:",
        *built_in,
        "On disk, below --data-root (or COCA_DATA):",
        *on_disk,
        "Your own files:",
        *yours,
    ]
    return "\n\n".join(parts) + "\n"


def describe_dataset(dataset: Dataset) -> str:
    """One dataset, without a line's end: name, task, splits, protocols, source, licence, and the files it expects."""
    task = f"{dataset.task} of clips" if dataset.media == "video" else dataset.task
    named = [protocol.name for protocol in dataset.protocols]
    ways = f", protocols {', '.join(named)}" if named else ""
    head = f"{dataset.name}  {task}, splits {', '.join(dataset.splits)}{ways}; {dataset.source}; {dataset.licence}"
    return head if dataset.built_in else f"{head}\n{_indent(dataset.layout)}"


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
