from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from coca_cli.errors import CocaError, MissingExtra
from coca_cli.options import LogChoice
from coca_cli.training.metrics_log import METRICS_FILE, MetricsLog, read_metrics

ID = "0123abcd"


def write(folder: Path, steps: range, *extras: LogChoice, begin: int = 0, factor: float = 1.0) -> None:
    log = MetricsLog(folder, begin, extras, {"recipe": {"steps": 9}}, ID)
    for step in steps:
        log.write(step, {"loss": factor / step, "rate": 0.5})
    log.close()


def steps_in(folder: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (folder / METRICS_FILE).read_text().splitlines()]


# --- metrics.jsonl ---


def test_every_step_is_one_json_line(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    lines = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert lines == [{"step": step, "loss": 1 / step, "rate": 0.5} for step in (1, 2, 3)]
    assert read_metrics(tmp_path) == lines
    assert [path.name for path in tmp_path.iterdir()] == [METRICS_FILE]


def test_a_line_is_on_the_disk_at_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0, (), {}, ID)
    log.write(1, {"loss": 2.0})
    assert read_metrics(tmp_path) == [{"step": 1, "loss": 2.0}]
    log.close()


def test_a_new_run_begins_with_an_empty_log(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    write(tmp_path, range(1, 2))
    assert steps_in(tmp_path) == [1]


def test_a_resumed_run_drops_what_came_after_its_checkpoint(tmp_path: Path) -> None:
    """Evaluations of a step stand on a line of their own; they stay or go with it."""
    log = MetricsLog(tmp_path, 0, (), {}, ID)
    for step in range(1, 6):
        log.write(step, {"loss": 1.0})
        log.write(step, {"score": 10.0 * step})
    log.close()
    write(tmp_path, range(4, 7), begin=3, factor=7.0)
    assert steps_in(tmp_path) == [1, 1, 2, 2, 3, 3, 4, 5, 6]
    found = read_metrics(tmp_path)
    assert found[5] == {"step": 3, "score": 30.0}
    assert found[6]["loss"] == 7.0 / 4


def test_a_last_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    write(tmp_path, range(1, 4))
    path = tmp_path / METRICS_FILE
    path.write_text(path.read_text()[:-9])
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]
    write(tmp_path, range(4, 5), begin=3)
    assert steps_in(tmp_path) == [1, 2, 4]


@pytest.mark.parametrize("text", ["", "[1]\n", '{"loss": 3.0}\n', '{"step": "1"}\n', "nonsense\n", '{"step": true}\n'])
def test_what_is_no_line_of_a_log_is_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / METRICS_FILE).write_text(text)
    assert read_metrics(tmp_path) == []


def test_a_folder_without_a_log_has_no_lines(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == []
    write(tmp_path, range(3, 4), begin=2)
    assert steps_in(tmp_path) == [3]


def test_a_number_that_is_none_is_read_back(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path, 0, (), {}, ID)
    log.write(1, {"loss": math.nan, "temperature": math.inf})
    log.close()
    (line,) = read_metrics(tmp_path)
    assert math.isnan(line["loss"])
    assert line["temperature"] == math.inf


def test_a_full_disk_is_told_in_words(tmp_path: Path) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip(f"this system has no {full}")
    log = MetricsLog(tmp_path, 0, (), {}, ID)
    log._file.close()
    log._file = full.open("a")
    with pytest.raises(CocaError, match=r"metrics\.jsonl cannot be written \(No space left on device\)"):
        log.write(1, {"loss": 2.0})
    log.close()  # the line that is still waiting raises nothing more


# --- TensorBoard ---


def scalars(folder: Path) -> dict[str, dict[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder / "tensorboard"))
    accumulator.Reload()
    return {
        tag: {event.step: event.value for event in accumulator.Scalars(tag)} for tag in accumulator.Tags()["scalars"]
    }


def test_tensorboard_shows_the_same_numbers(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    write(tmp_path, range(1, 4), LogChoice.tensorboard)
    found = scalars(tmp_path)
    assert found.keys() == {"loss", "rate"}
    assert found["loss"] == pytest.approx({1: 1.0, 2: 0.5, 3: 1 / 3})
    assert steps_in(tmp_path) == [1, 2, 3]


def test_tensorboard_forgets_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    write(tmp_path, range(1, 6), LogChoice.tensorboard)
    write(tmp_path, range(4, 5), LogChoice.tensorboard, begin=3, factor=7.0)
    assert scalars(tmp_path)["loss"] == pytest.approx({1: 1.0, 2: 0.5, 3: 1 / 3, 4: 7 / 4})


# --- Weights & Biases ---


class FakeRun:
    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []
        self.finished = False

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished = True


def test_weights_and_biases_get_settings_and_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, asked = FakeRun(), dict[str, Any]()
    fake = ModuleType("wandb")
    fake.init = lambda **options: asked.update(options) or run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", fake)
    folder = tmp_path / "my-run"
    folder.mkdir()
    write(folder, range(3, 5), LogChoice.wandb, begin=2)
    assert run.logged == [(3, {"loss": 1 / 3, "rate": 0.5}), (4, {"loss": 0.25, "rate": 0.5})]
    assert run.finished
    assert asked["config"] == {"recipe": {"steps": 9}}
    assert asked["dir"] == str(folder)
    assert asked["name"] == "my-run"
    assert (asked["id"], asked["resume"]) == (ID, "allow")  # so that a resumed run goes on in its curves
    assert steps_in(folder) == [3, 4]


@pytest.mark.parametrize(
    ("extra", "module"), [(LogChoice.wandb, "wandb"), (LogChoice.tensorboard, "torch.utils.tensorboard")]
)
def test_a_package_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extra: LogChoice, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"--log {extra} needs the package {extra}; install it: pip install 'coca-cli\[{extra}\]'"
    write(tmp_path, range(1, 4))
    with pytest.raises(MissingExtra, match=message):
        MetricsLog(tmp_path, 0, [extra], {}, ID)
    assert steps_in(tmp_path) == [1, 2, 3]  # nothing is lost by it
