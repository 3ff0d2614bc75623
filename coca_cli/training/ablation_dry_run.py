"""What `coca ablate` would do, as text."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table

from coca_cli.datasets import find_dataset
from coca_cli.datasets.sources import find_source
from coca_cli.model.placement import choose_device, choose_precision
from coca_cli.training.ablation_cost import VariantCost, variant_cost
from coca_cli.training.ablation_plan import AblationRun, Plan, base_config, make_plan, pretraining_of
from coca_cli.training.ablation_request import AblationRequest
from coca_cli.training.ablation_state import AblationState
from coca_cli.training.utilisation import measured_peak

WIDTH = 120


def plan_ablation(request: AblationRequest) -> str:
    """The variants with their tables, seeds, sizes and costs, and the time that all of them take.

    Raises:
        CocaError: Data, configuration or output are not usable; see the functions called.
    """
    plan = make_plan(request)
    for text in request.base.data:
        find_source(text, request.base.root)
    for measure in request.measures:
        find_dataset(measure.dataset)
    state = AblationState(request, anew=request.base.overwrite)
    costs = {run.variant.name: _cost(request, run) for run in plan.runs if run.seed == plan.runs[0].seed}
    console = Console(width=WIDTH, highlight=False)
    with console.capture() as capture:
        console.print(_table(plan, state, costs))
    text = "".join(f"{line.rstrip()}\n" for line in capture.get().splitlines())
    recipe = request.base.recipe
    measures = ", ".join(measure.name for measure in request.measures)
    lines = [
        f"each: {recipe.steps:,} steps of {recipe.batch_size} from {', '.join(request.base.data)}; then {measures}",
        _time(request, plan, state, costs),
    ]
    if plan.left_out:
        lines.append(plan.left_out)
    return text + "".join(f"{line}\n" for line in lines)


def _cost(request: AblationRequest, run: AblationRun) -> VariantCost:
    """With texts of full length, since no tokenizer is there yet."""
    training = pretraining_of(request, run)
    config = base_config(training)
    return variant_cost(
        config, run.variant, batch_size=training.recipe.batch_size, words=config.text.context, classes=1
    )


def _table(plan: Plan, state: AblationState, costs: dict[str, VariantCost]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("variant")
    table.add_column("tables")
    table.add_column("changes")
    for name in ("seeds", "finished", "parameters", "operations of a step"):
        table.add_column(name, justify="right")
    for variant in dict.fromkeys(run.variant for run in plan.runs):
        runs = [run for run in plan.runs if run.variant == variant]
        weights = f"{variant.contrastive_weight:g} contrastive + {variant.caption_weight:g} caption"
        changes = "classes" if variant.classes else ", ".join([weights, *variant.changes])
        table.add_row(
            variant.name,
            " ".join(plan.tables_of(variant)),
            changes + (", labels alone" if variant.labels_alone else ""),
            " ".join(str(run.seed) for run in runs),
            str(sum(state.finished(run) for run in runs)),
            f"{costs[variant.name].parameters / 1e6:.2f}M",
            f"{costs[variant.name].operations:.2e}",
        )
    return table


def _time(request: AblationRequest, plan: Plan, state: AblationState, costs: dict[str, VariantCost]) -> str:
    left = [run for run in plan.runs if not state.finished(run)]
    words = f"{len(plan.runs)} runs, {len(plan.runs) - len(left)} of them finished"
    if not left:
        return words
    each = state.mean_seconds()
    if each is not None:
        return f"{words}; the others take about {each * len(left) / request.jobs / 60:,.0f} min, as those did"
    device = choose_device(request.base.device)
    mixed = choose_precision(request.base.recipe.precision, device) == "bf16"
    operations = request.base.recipe.steps * sum(costs[run.variant.name].operations for run in left)
    hours = operations / measured_peak(device, mixed=mixed) / 3600
    return (
        f"{words}; {operations:.1e} operations at most, {hours:,.2f} h at the peak of this machine; small models reach "
        "a tenth of it, and measuring comes on top"
    )
