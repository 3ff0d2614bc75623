"""What `coca ablate` will train: every variant once per seed, whichever tables show it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from coca_cli.datasets.sources import find_source
from coca_cli.errors import CocaError
from coca_cli.model.architectures import new_model_config
from coca_cli.model.config import CoCaConfig
from coca_cli.recipes import merge_changes
from coca_cli.training.ablation_request import AblationRequest, Measure
from coca_cli.training.ablation_variants import Table, Variant, build_tables, table_names
from coca_cli.training.pretrain_request import PretrainRequest
from coca_cli.training.pretrain_setup import DEFAULT_ARCHITECTURE

RUNS = "runs"


class AblationRun(NamedTuple):
    """One model.

    Attributes:
        variant: How it is trained.
        seed: With which seed.
        measures: What is measured of it.
    """

    variant: Variant
    seed: int
    measures: tuple[Measure, ...]

    @property
    def name(self) -> str:
        """Of its folder, and of the model in the results."""
        return f"{self.variant.name}-seed{self.seed}"


@dataclass(frozen=True, slots=True)
class Plan:
    """All that is to be done.

    Attributes:
        tables: Those that are wanted and can be made.
        shown: Table -> the measures that it shows.
        runs: Every seed's variants together, the first seed first.
        left_out: Why a table is not made, in words; empty where all are.
    """

    tables: tuple[Table, ...]
    shown: dict[str, tuple[Measure, ...]]
    runs: tuple[AblationRun, ...]
    left_out: str = ""

    def tables_of(self, variant: Variant) -> list[str]:
        """The names of the tables that show a variant."""
        return [table.name for table in self.tables if variant in [line.variant for line in table.lines]]


def base_config(base: PretrainRequest) -> CoCaConfig:
    """The architecture of the default variant, its vocabulary left open.

    Raises:
        CocaError: There is no such architecture.
    """
    config = new_model_config(base.architecture or DEFAULT_ARCHITECTURE).with_changes(base.changes)
    return config if base.image_size is None else config.with_image_size(base.image_size)


def labelled_data(base: PretrainRequest) -> list[int]:
    """The places of the sources that are labelled pictures."""
    return [place for place, text in enumerate(base.data) if find_source(text, base.root).kind == "labels"]


def make_plan(request: AblationRequest) -> Plan:
    """The tables and the runs.

    Raises:
        CocaError: A table cannot be made of this architecture, these data or these measures.
    """
    names, left_out = table_names(request.tables), ""
    if "8a" in names and not labelled_data(request.base):
        missing = "table 8a is trained on labelled pictures, and --data has none"
        if request.tables:
            raise CocaError(f"{missing}: give some, such as --data digits or --data labels:SRC")
        names.remove("8a")
        left_out = f"{missing}: it is left out"
    tables = build_tables(names, base_config(request.base))
    shown: dict[str, tuple[Measure, ...]] = {}
    for table in tables:
        shown[table.name] = tuple(m for m in request.measures if request.everywhere or m.kind in table.kinds)
        if not shown[table.name]:
            raise CocaError(
                f"nothing is measured for table {table.name}: the paper has {' and '.join(table.kinds)} there; name "
                "one of these with its dataset by --measures"
            )
    wanted: dict[Variant, list[Measure]] = {}
    for table in tables:
        for variant in (line.variant for line in table.lines if line.variant):
            found = wanted.setdefault(variant, [])
            found += [m for m in shown[table.name] if m not in found and m.kind not in variant.lacks]
    runs = [
        AblationRun(variant, seed, tuple(measures))
        for seed in request.all_seeds
        for variant, measures in wanted.items()
    ]
    return Plan(tuple(tables), shown, tuple(runs), left_out)


def pretraining_of(request: AblationRequest, run: AblationRun) -> PretrainRequest:
    """What a run trains: the base, with nothing changed but what its variant and its seed change."""
    base, variant = request.base, run.variant
    recipe = replace(
        base.recipe,
        seed=run.seed,
        contrastive_weight=variant.contrastive_weight,
        caption_weight=variant.caption_weight,
    )
    data: Sequence[str] = base.data
    shares = base.shares
    if variant.labels_alone:
        places = labelled_data(base)
        data = [base.data[place] for place in places]
        shares = None if base.shares is None else [base.shares[place] for place in places]
    return replace(
        base,
        data=data,
        shares=shares,
        changes=merge_changes(base.changes, variant.changes),
        recipe=recipe,
        output=request.output / RUNS / run.name,
    )
