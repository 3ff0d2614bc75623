"""`coca demo`: the tour on built-in pictures, nothing to fetch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from coca_cli.options import OUTPUT_PANEL, QuietOption, SeedOption

DEFAULT_FOLDER = Path("coca-demo")


def demo(
    folder: Annotated[
        Path,
        typer.Option("--folder", metavar="DIR", help="Where model and report go.", rich_help_panel=OUTPUT_PANEL),
    ] = DEFAULT_FOLDER,
    seed: SeedOption = 0,
    quiet: QuietOption = False,
) -> None:
    """Train a small CoCa on built-in pictures, evaluate it, write a report; minutes on 2 CPU cores."""
    from coca_cli.datasets import find_dataset
    from coca_cli.extras import check_extra

    for extra in ("captions", "report"):
        check_extra(extra, "the tour", install="all")
    from coca_cli.model.checkpoint import load
    from coca_cli.model.placement import place
    from coca_cli.model.understanding_folder import load_understanding
    from coca_cli.progress import Reporter
    from coca_cli.reports.html_page import write_page
    from coca_cli.reports.tables import render, write_table
    from coca_cli.store import Store
    from coca_cli.tasks import caption_eval_run, retrieval_run, understanding_run, zeroshot_run
    from coca_cli.tasks.shown_answers import describe_answer, spread_answers
    from coca_cli.training import probe_run
    from coca_cli.training.demo_recipe import demo_probe, demo_questions, demo_request
    from coca_cli.training.pretrain_run import run_pretrain
    from coca_cli.training.understanding_run import run_understanding

    reporter, store, model = Reporter(quiet=quiet), Store(folder / "results"), folder / "model"
    digits, scenes = find_dataset("digits"), find_dataset("scenes")
    zeroshot = zeroshot_run.ZeroShotRequest(dataset=digits, root=folder, seed=seed)
    retrieval = retrieval_run.RetrievalRequest(dataset=scenes, root=folder, seed=seed, grid=folder / "retrieval.png")
    captions = folder / "captions.json"
    captioning = caption_eval_run.CaptionEvalRequest(dataset=scenes, root=folder, seed=seed, save=captions)
    questions, answerer = find_dataset("scene-questions"), folder / "vqa"
    asking = understanding_run.UnderstandingEvalRequest(
        dataset=questions, root=folder, seed=seed, save=folder / "answers.csv", show=folder / "answers.png"
    )
    zeroshot_run.check_request(zeroshot, store)
    chosen = retrieval_run.check_request(retrieval, store)
    captioned = caption_eval_run.check_request(captioning, store)
    probing = demo_probe(folder, seed)
    parts = probe_run.check_request(probing, store)
    reporter.notice("1 of 6  pretraining on scenes drawn from scanned handwritten digits, with captions")
    run_pretrain(demo_request(model, seed), reporter)
    placed = place(load(str(model)), "auto", "fp32")
    reporter.notice("2 of 6  zero-shot classification of handwriting that no training picture shows")
    rows = zeroshot_run.run_zeroshot(zeroshot, placed, store, reporter)
    reporter.notice("3 of 6  retrieval: captions of new scenes by their pictures, and pictures by their captions")
    rows += retrieval_run.run_retrieval(retrieval, chosen, placed, store, reporter)
    reporter.notice("4 of 6  captions of the same new scenes, scored against those that they were drawn from")
    rows += caption_eval_run.run_caption_eval(captioning, captioned, placed, store, reporter).rows
    reporter.notice("5 of 6  action recognition: a new attentional pooler over 16 frames, the encoder frozen")
    rows += probe_run.run_probe(probing, parts, placed, (str(model), None, None), store, reporter)
    reporter.notice("6 of 6  questions about new scenes: a new pooler over the decoder, the whole model finetuned")
    run_understanding(demo_questions(folder, model, answerer, seed), reporter)
    head = load_understanding(answerer)
    asked = understanding_run.check_request(asking, head, store)
    answered = understanding_run.run_understanding(
        asking, asked, head, place(load(str(answerer)), "auto", "fp32"), store, reporter
    )
    rows += answered.rows
    for name in ("report.csv", "report.md"):
        write_table(folder / name, rows, "table")
    write_page(folder / "report.html", store, rows, title="coca demo")
    print(render(rows, "table"), end="")
    print(f"Written: {folder}/report.html, a page to open in a browser; {folder}/report.md and .csv;")
    print(f"{folder}/retrieval.png (captions and the pictures found for them), {captions} (what the model wrote),")
    print(f"{folder}/answers.png and .csv (what it answered); the models in {model} and {answerer}.")
    print("Asked about scenes that it never saw:")
    for given in spread_answers(answered.answers, 3):
        print(f"  {describe_answer(given)}")
    print("Next, on pictures of your own, one folder per class, or any:")
    print("  coca eval zeroshot -m coca_ViT-B-32 --pretrained laion2b_s13b_b90k -d folder:PATH")
    print(f"  coca caption -m {model} PATH")
    print("Every task once, and its page: coca suite run smoke, then coca report --format html -o report.html")
