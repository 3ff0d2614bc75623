"""What the user asks of every command that trains in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coca_cli.options import LogChoice, Parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Where a run goes, how it is computed, and what is kept of it.

    Attributes:
        output: The run folder, which becomes the model's.
        accumulate: Parts that each batch goes through the model in.
        parallel: How several processes share the model.
        checkpoint_activations: Compute activations twice instead of keeping them.
        compile: Compile the model.
        save_every: Steps between two savings; 0 saves at the end alone.
        keep_checkpoints: Checkpoints that stay.
        eval_every: Steps between two evaluations; 0 evaluates at the end alone.
        eval_first: Evaluate before the first step, too, and tell at the end what has become of the scores.
        logs: Further logs.
        overwrite: Replace what is already there.
        resume: Refuse to begin anew.
        device: auto, cpu, cuda or mps.
        limit: The first so many examples of each source and evaluation set.
        workers: Decoding threads.
        strict: Stop at the first unreadable example.
    """

    output: Path
    accumulate: int = 1
    parallel: Parallel = Parallel.ddp
    checkpoint_activations: bool = False
    compile: bool = False
    save_every: int = 0
    keep_checkpoints: int = 1
    eval_every: int = 0
    eval_first: bool = False
    logs: Sequence[LogChoice] = ()
    overwrite: bool = False
    resume: bool = False
    device: str = "auto"
    limit: int | None = None
    workers: int | None = None
    strict: bool = False
