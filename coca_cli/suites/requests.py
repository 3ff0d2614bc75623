"""A benchmark's options as the request that the task's own command makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from coca_cli.media.video import Sampling
from coca_cli.model.classifier_folder import ClassifierDescription
from coca_cli.model.decoding_terms import Decoding
from coca_cli.options import FrameMean
from coca_cli.suites.command_options import Benchmark
from coca_cli.tasks.caption_eval_run import CaptionEvalRequest
from coca_cli.tasks.captioning import Writing
from coca_cli.tasks.classification_run import ClassificationRequest
from coca_cli.tasks.media_features import Reading
from coca_cli.tasks.retrieval_run import RetrievalRequest
from coca_cli.tasks.understanding_run import UnderstandingEvalRequest
from coca_cli.tasks.zeroshot_run import ZeroShotRequest
from coca_cli.training.augment import Augmentation
from coca_cli.training.head_sweep import HeadRecipe
from coca_cli.training.probe_request import ProbeRequest
from coca_cli.training.probe_run import sweep
from coca_cli.training.rand_augment import RandAugmentStrength
from coca_cli.training_options import parse_rand_augment

Values = Mapping[str, Any]


def _reading(values: Values, sampling: Sampling, **more: Any) -> Reading:
    cache: Path | None = values["cache_dir"] if values["cache"] else None
    return Reading(batch_size=values["batch_size"], workers=values["workers"], cache=cache, sampling=sampling, **more)


def _sampling(values: Values) -> Sampling:
    return Sampling(values["frames"], values["sampling"].value)


def _shared(benchmark: Benchmark, *names: str) -> dict[str, Any]:
    """What every request has, and parameters that it calls as the command does."""
    values = benchmark.values
    plain = {name: values[name] for name in ("limit", "strict", *names)}
    return {"dataset": benchmark.dataset, "root": values["data_root"], **plain}


def zeroshot_request(benchmark: Benchmark) -> ZeroShotRequest:
    """As `coca eval zeroshot` makes it."""
    values = benchmark.values
    mean: FrameMean = values["frame_mean"]
    return ZeroShotRequest(
        class_names=values["classnames"],
        templates=values["templates"],
        reading=_reading(values, _sampling(values), frame_mean=mean),
        **_shared(benchmark, "split", "seed"),
    )


def retrieval_request(benchmark: Benchmark) -> RetrievalRequest:
    """As `coca eval retrieval` makes it."""
    values = benchmark.values
    return RetrievalRequest(
        protocol=values["protocol"],
        captions=values["captions_per_image"],
        prompt=values["prompt"],
        reading=_reading(values, _sampling(values), frame_mean=values["frame_mean"]),
        **_shared(benchmark, "split", "seed"),
    )


def caption_request(benchmark: Benchmark) -> CaptionEvalRequest:
    """As `coca eval caption` makes it, for a model that writes."""
    values = benchmark.values
    search = Decoding(
        method=values["decoding"],
        beams=values["beams"],
        length_penalty=values["length_penalty"],
        min_length=values["min_length"],
        max_length=values["max_length"],
        temperature=values["temperature"],
        top_k=values["top_k"],
        top_p=values["top_p"],
        repetition_penalty=values["repetition_penalty"],
        seed=values["seed"],
    )
    return CaptionEvalRequest(
        writing=Writing(decoding=search, prefix=values["prefix"]),
        reading=_reading(values, _sampling(values)),
        java=values["java"],
        **_shared(benchmark, "split", "seed"),
    )


def probe_request(benchmark: Benchmark) -> ProbeRequest:
    """As `coca probe` makes it, for a frozen encoder and without a classifier to write."""
    values = benchmark.values
    shared = ("steps", "warmup", "decay", "optimizer", "clip", "ema", "label_smoothing", "seed")
    recipe = HeadRecipe(batch_size=values["head_batch_size"], **{name: values[name] for name in shared})
    augmentation = Augmentation(
        min_area=values["min_crop"],
        flip=values["flip"],
        turn=values["turn"],
        rand_augment=RandAugmentStrength(*parse_rand_augment(values["rand_augment"])),
    )
    budget: float | None = values["cache_budget"]
    own = ("train_split", "val_split", "val_part", "head", "features", "epochs", "times", "shots", "draws")
    return ProbeRequest(
        test_split=values["split"],
        settings=sweep(values["learning_rates"], values["weight_decays"]),
        recipe=recipe,
        augmentation=augmentation,
        cache_budget=None if budget is None else round(budget * 1e9),
        reading=_reading(values, _sampling(values)),
        **_shared(benchmark, *own),
    )


def classification_request(benchmark: Benchmark, described: ClassifierDescription) -> ClassificationRequest:
    """As `coca eval classification` makes it, with the frames that the classifier was trained on."""
    values = benchmark.values
    sampling = Sampling(max(1, described.frames), described.sampling, values["views"], values["span"])
    return ClassificationRequest(
        reading=_reading(values, sampling, crops=values["crops"]), **_shared(benchmark, "split", "seed")
    )


def understanding_request(benchmark: Benchmark) -> UnderstandingEvalRequest:
    """As `coca eval understanding` makes it, for a model that answers."""
    values = benchmark.values
    own = ("split", "shuffle_pictures", "batch_size", "workers", "seed")
    return UnderstandingEvalRequest(by_kind=values["question_types"], **_shared(benchmark, *own))
