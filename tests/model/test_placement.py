from __future__ import annotations

import pytest
import torch

from coca_cli.errors import CocaError
from coca_cli.model import placement
from coca_cli.model.loaded import Loaded, LoadedCoCa
from coca_cli.model.placement import choose_device, choose_precision, place
from coca_cli.model.tokenizer import ClipTokenizer
from coca_cli.model.weights import hash_weights
from tests.model.small_models import pictures, small_coca, texts


@pytest.fixture
def loaded() -> Loaded:
    return LoadedCoCa(small_coca(), ClipTokenizer(10), "small").ready()


def machine(monkeypatch: pytest.MonkeyPatch, *, cuda: bool = False, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"),
    [(True, True, "cuda"), (True, False, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_takes_the_fastest_device(cuda: bool, mps: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=cuda, mps=mps)
    assert choose_device("auto") == torch.device(chosen)
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(("name", "there"), [("cuda", "mps, cpu"), ("mps", "cuda, cpu")])
def test_a_device_that_is_not_there_is_refused(name: str, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cuda=name == "mps", mps=name == "cuda")
    with pytest.raises(CocaError, match=f"--device {name}: torch finds no such device here; available: {there}$"):
        choose_device(name)


@pytest.mark.parametrize(("fast", "chosen"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bf16_where_the_processor_is_quick_at_it(
    fast: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True, raising=False)
    assert choose_precision("auto", torch.device("cpu")) == chosen


@pytest.mark.parametrize(("capability", "chosen"), [((9, 0), "bf16"), ((8, 0), "bf16"), ((7, 5), "fp32")])
def test_auto_is_bf16_from_ampere_on(capability: tuple[int, int], chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert choose_precision("auto", torch.device("cuda")) == chosen


def test_auto_is_fp32_elsewhere() -> None:
    assert choose_precision("auto", torch.device("mps")) == "fp32"


def test_fp16_is_for_gpus() -> None:
    with pytest.raises(CocaError, match="--precision fp16 is for GPUs; on the CPU use bf16 or fp32"):
        choose_precision("fp16", torch.device("cpu"))
    assert choose_precision("fp16", torch.device("cuda")) == "fp16"


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_placed_model_has_its_weights_in_the_format(precision: str, dtype: torch.dtype, loaded: Loaded) -> None:
    placed = place(loaded, "cpu", precision)
    assert placed.dtype == dtype
    assert {p.dtype for p in placed.model.parameters()} == {dtype}
    assert not placed.model.training
    assert (placed.device, placed.precision) == (torch.device("cpu"), precision)
    assert (placed.name, placed.tokenizer, placed.image) == (loaded.name, loaded.tokenizer, loaded.image)


def test_the_hash_is_that_of_the_checkpoint_in_every_format(loaded: Loaded) -> None:
    expected = hash_weights(dict(small_coca().state_dict()))
    assert place(loaded, "cpu", "bf16").checkpoint == expected


def test_bf16_moves_embeddings_by_little() -> None:
    model = small_coca()
    with torch.inference_mode():
        exact = model.embed_image(pictures(4)), model.embed_text(texts(10, 8, 5, 2))
        model.bfloat16()
        rounded = model.embed_image(pictures(4).bfloat16()), model.embed_text(texts(10, 8, 5, 2))
    for before, after in zip(exact, rounded, strict=True):
        assert torch.nn.functional.cosine_similarity(before, after.float()).min() > 0.995


def test_precisions_are_those_of_the_option() -> None:
    assert set(placement.DTYPES) == {"fp32", "bf16", "fp16"}


@pytest.mark.gpu
def test_a_gpu_gives_the_cpus_numbers(loaded: Loaded) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    with torch.inference_mode():
        expected = loaded.model.embed_image(pictures(4)), loaded.model.embed_text(texts(10, 8, 5, 2))
        placed = place(loaded, "cuda", "fp32")
        found = placed.model.embed_image(pictures(4).cuda()), placed.model.embed_text(texts(10, 8, 5, 2).cuda())
    for ours, wanted in zip(found, expected, strict=True):
        torch.testing.assert_close(ours.cpu(), wanted, atol=1e-4, rtol=0)
