"""Recipes: what they say, how they are read, and that options of the command line go before them."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from coca_cli.errors import BadExample, CocaError, MissingFile, UnknownName
from coca_cli.model.architectures import new_model_config
from coca_cli.recipes import read_recipe, recipe_names, recipe_text, to_toml
from coca_cli.training import pretrain_run
from coca_cli.training.pretrain_request import PretrainRequest
from tests.commands.running import run

Asked = Callable[..., PretrainRequest]

OPTIONS = dict.fromkeys(("batch_size", "data", "flip", "learning_rate", "optimizer"))
DATA = ("--data", "scenes", "--output", "out")

TOML = """\
# what everybody uses
data = ["scenes", "digits"]
batch-size = 256
learning-rate = 2e-3
optimizer = "adamw"
flip = true
set = ["vision.layers=1", "text.context=24"]
output = "from the recipe"
"""
YAML = """\
# what everybody uses
data: [scenes, digits]
batch-size: 256
learning-rate: 2.0e-3
optimizer: adamw
flip: true
set:
  - vision.layers=1
  - text.context=24
output: from the recipe
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """What `coca pretrain ARGV...` asks for; nothing is read or trained."""
    found: list[PretrainRequest] = []
    monkeypatch.setattr(pretrain_run, "plan_pretrain", lambda request: found.append(request) or "")

    def ask(*argv: object) -> PretrainRequest:
        assert run("pretrain", "--dry-run", *argv) == 0
        return found.pop()

    return ask


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


# --- files ---


@pytest.mark.parametrize(("name", "text"), [("mine.toml", TOML), ("mine.yaml", YAML), ("mine.YML", YAML)])
def test_toml_and_yaml_are_read_alike(tmp_path: Path, asked: Asked, name: str, text: str) -> None:
    request = asked("--recipe", written(tmp_path / name, text))
    assert list(request.data) == ["scenes", "digits"]
    assert (request.recipe.batch_size, request.recipe.learning_rate, request.recipe.optimizer) == (256, 2e-3, "adamw")
    assert request.augmentation.flip is True
    assert list(request.changes) == ["vision.layers=1", "text.context=24"]
    assert request.output == Path("from the recipe")
    words = "--data scenes --data digits --batch-size 256 --learning-rate 2e-3 --optimizer adamw --flip"
    words += " --set vision.layers=1 --set text.context=24 --output"
    assert request == asked(*words.split(), "from the recipe")


def test_options_of_the_command_line_go_before_the_recipe(tmp_path: Path, asked: Asked) -> None:
    path = written(tmp_path / "mine.toml", TOML)
    request = asked("--batch-size", 8, "--recipe", path, "--data", "digits", "-o", "out")
    assert (request.recipe.batch_size, list(request.data), request.output) == (8, ["digits"], Path("out"))
    assert request.recipe.learning_rate == 2e-3
    assert asked("--recipe", path, "--batch-size", 8, "--data", "digits", "-o", "out") == request


def test_the_command_line_changes_single_settings_of_the_recipe(tmp_path: Path, asked: Asked) -> None:
    """A setting of the recipe stays where the command line does not name the same key."""
    path = written(tmp_path / "mine.toml", TOML)
    for words in (("--recipe", path, "--set", "text.context=9"), ("--set", "text.context=9", "--recipe", path)):
        assert list(asked(*words).changes) == ["vision.layers=1", "text.context=9"]
    assert list(asked("--recipe", path, "--set", "embed_dim=8").changes) == [
        *("vision.layers=1", "text.context=24", "embed_dim=8"),
    ]


@pytest.mark.parametrize(
    ("recipe", "words", "length"),
    [
        ("epochs = 1", ("--steps", 3), (3, None)),
        ("epochs = 1", (), (10_000, 1.0)),
        ("steps = 3", ("--epochs", 2), (3, 2.0)),
        ("steps = 3\nepochs = 1", ("--steps", 5), (5, None)),
    ],
)
def test_the_command_line_sets_the_length(
    tmp_path: Path, asked: Asked, recipe: str, words: tuple[object, ...], length: tuple[int, float | None]
) -> None:
    """Epochs, where there are any, stand in for steps."""
    request = asked("--recipe", written(tmp_path / "mine.toml", recipe), *DATA, *words)
    assert (request.recipe.steps, request.epochs) == length


def test_steps_and_epochs_in_one_place_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = written(tmp_path / "mine.toml", "steps = 3\nepochs = 2\n")
    for words in (("--steps", 3, "--epochs", 2), ("--recipe", recipe)):
        assert run("pretrain", "--dry-run", *DATA, *words) == 1
        message = capsys.readouterr().err
        assert "both --steps 3 and --epochs 2 are given for the length of one run; leave one of them out" in message


def test_a_start_leaves_the_recipe_s_architecture_aside(tmp_path: Path, asked: Asked) -> None:
    """But not what stands on the command line, which a start refuses."""
    text = 'arch = "coca_base"\nset = ["text.context=24"]\nvocab-size = 99\ntokenizer = "clip"\nseed = 3\n'
    path = written(tmp_path / "mine.toml", text)
    request = asked("--recipe", path, *DATA, "--init", "start")
    assert request.left_aside == ("--arch", "--set", "--tokenizer", "--vocab-size")
    assert request == replace(asked(*DATA, "--init", "start", "--seed", 3), left_aside=request.left_aside)
    request = asked("--recipe", path, *DATA, "--init", "start", "--arch", "coca_large")
    assert (request.architecture, list(request.changes)) == ("coca_large", [])


def test_switches_of_a_recipe_can_be_turned_off(tmp_path: Path, asked: Asked) -> None:
    path = written(tmp_path / "mine.toml", "flip = true\nturn = true\n")
    found = [asked("--recipe", path, *DATA, *words).augmentation for words in ((), ("--no-flip",), ("--no-turn",))]
    assert [(one.flip, one.turn) for one in found] == [(True, True), (False, True), (True, False)]


def test_a_single_value_is_a_list_of_one(tmp_path: Path, asked: Asked) -> None:
    """Where an option may be given several times."""
    path = written(tmp_path / "mine.toml", 'data = "scenes"\noutput = "out"\nfreeze = "image"\n')
    request = asked("--recipe", path)
    assert (list(request.data), list(request.freeze)) == (["scenes"], ["image"])


def test_a_list_stands_for_words_with_commas(tmp_path: Path, asked: Asked) -> None:
    """Where an option is given once."""
    request = asked("--recipe", written(tmp_path / "mine.toml", "weights = [3, 0.5]\n"), *DATA)
    assert request == asked("--weights", "3,0.5", *DATA)
    assert request.shares == [3.0, 0.5]


def test_the_defaults_stand_where_a_recipe_says_nothing(tmp_path: Path, asked: Asked) -> None:
    plain = asked(*DATA)
    assert asked("--recipe", written(tmp_path / "empty.toml", "# nothing\n"), *DATA) == plain
    assert asked("--recipe", written(tmp_path / "empty.yaml", "# nothing\n"), *DATA) == plain
    one = asked("--recipe", written(tmp_path / "one.toml", "seed = 5\n"), *DATA)
    assert one == replace(plain, recipe=replace(plain.recipe, seed=5))


def test_names_may_be_written_with_either_dash(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.toml", "batch_size = 3\n")
    assert read_recipe(str(path), OPTIONS, "pretrain") == {"batch_size": 3}


def test_numbers_in_lists_become_words(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.yaml", "data: [1, 2.5, three]\n")
    assert read_recipe(str(path), {"data": SimpleNamespace(multiple=True)}, "pretrain") == {
        "data": ["1", "2.5", "three"]
    }


def test_the_range_of_an_option_holds_in_recipes_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text in ("batch-size = 0\n", 'batch-size = "many"\n', 'optimizer = "sgd"\n'):
        assert run("pretrain", "--recipe", written(tmp_path / "mine.toml", text), *DATA) == 2
        assert text.split()[0] in capsys.readouterr().err


# --- mistakes ---


@pytest.mark.parametrize(
    ("name", "content", "kind", "message"),
    [
        (
            "a.toml",
            b"batchsize = 3",
            UnknownName,
            "a.toml names what this command has not: unknown option 'batchsize'.",
        ),
        ("a.toml", b"batchsize = 3", UnknownName, "Did you mean batch-size?"),
        ("a.yaml", b"7: 3", UnknownName, "unknown option '7'"),
        ("a.toml", b"batch-size = [[1]]", CocaError, "batch-size is [[1]]: an option takes a number, a text, true"),
        ("a.toml", b"[batch-size]\nx = 1", CocaError, "an option takes a number, a text, true or false, or a list of"),
        ("a.toml", b"data = 2020-01-01", CocaError, "an option takes a number, a text, true or false, or a list of"),
        ("a.yaml", b"data: null", CocaError, "data is None: an option takes a number"),
        (
            "a.toml",
            b'data = ["a.csv", "labels:pipe:x"]',
            CocaError,
            "would run the command in data = 'labels:pipe:",
        ),
        ("a.yaml", b"data: 'pipe:cat a.tar'", CocaError, "written runs nothing; give it on the command line"),
        ("a.toml", b"batch-size", BadExample, "a.toml cannot be read: "),
        ("a.yaml", b"a: [", BadExample, "a.yaml cannot be read: "),
        ("a.yaml", b"- a\n- b", BadExample, "a.yaml holds no options: write lines such as batch-size = 256"),
        ("a.yaml", b"batch-size", BadExample, "a.yaml holds no options"),
        ("a.toml", b"\xff\xfe", BadExample, "a.toml is not UTF-8 text (invalid start byte): save it as UTF-8"),
    ],
)
def test_damaged_recipes_are_refused(
    tmp_path: Path, name: str, content: bytes, kind: type[CocaError], message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(kind) as caught:
        read_recipe(str(tmp_path / name), OPTIONS, "pretrain")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"cannot read the recipe .*no\.toml: No such file .*one of paper"):
        read_recipe(str(tmp_path / "no.toml"), OPTIONS, "pretrain")


def test_an_unknown_name_is_answered_with_what_is_near() -> None:
    for asked in ("papr", "show:papr"):
        with pytest.raises(UnknownName, match=r"unknown recipe 'papr'\. Did you mean paper"):
            recipe_text("papr", "pretrain") if ":" in asked else read_recipe(asked, OPTIONS, "pretrain")


def test_no_yaml_can_run_code(tmp_path: Path) -> None:
    path = written(tmp_path / "a.yaml", f"data: !!python/object/apply:os.mkdir ['{tmp_path / 'made'}']\n")
    with pytest.raises(BadExample, match="cannot be read"):
        read_recipe(str(path), OPTIONS, "pretrain")
    assert not (tmp_path / "made").exists()


def test_mistakes_end_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path / "mine.toml", "lerning-rate = 1\n")
    assert run("pretrain", "--recipe", path, *DATA) == 1
    assert "unknown option 'lerning-rate'. Did you mean learning-rate?" in capsys.readouterr().err
    for name in ("papr", "show:papr"):
        assert run("pretrain", "--recipe", name, *DATA) == 1
        assert "unknown recipe 'papr'. Did you mean paper?" in capsys.readouterr().err


# --- show ---


def test_what_show_prints_is_a_recipe_of_the_defaults(
    tmp_path: Path, asked: Asked, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("pretrain", "--recipe", "show") == 0
    shown = capsys.readouterr().out
    others = "paper, paper-high-resolution, small, small-high-resolution"
    assert shown.startswith(f"# The defaults of coca pretrain. Others: show:NAME of {others}.")
    values = tomllib.loads(shown)
    assert (values["batch-size"], values["optimizer"], values["learning-rate"]) == (64, "adafactor", 8e-4)
    assert "data" not in values
    assert asked("--recipe", written(tmp_path / "shown.toml", shown), *DATA) == asked(*DATA)


@pytest.mark.parametrize("name", recipe_names("pretrain"))
def test_show_prints_a_recipe_as_it_stands(
    tmp_path: Path, asked: Asked, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run("pretrain", "--recipe", f"show:{name}") == 0
    shown = capsys.readouterr().out
    assert shown == recipe_text(name, "pretrain")
    assert asked("--recipe", written(tmp_path / "shown.toml", shown), *DATA) == asked("--recipe", name, *DATA)


def test_toml_is_written_so_that_it_can_be_read() -> None:
    values = {"a_b": 3, "c": 1e-05, "d": True, "e": 'say "\\n"', "f": ["x", 'y"'], "g": -0.5, "h": False, "i": []}
    assert tomllib.loads(to_toml(values)) == {name.replace("_", "-"): value for name, value in values.items()}


# --- what ships ---


@pytest.mark.parametrize("name", recipe_names("pretrain"))
def test_every_shipped_recipe_is_a_run(asked: Asked, name: str) -> None:
    request = asked("--recipe", name, *DATA)
    assert request != asked(*DATA)
    if request.architecture:
        new_model_config(request.architecture).with_changes(request.changes)


def test_the_papers_recipe_is_the_papers(asked: Asked) -> None:
    """Section 4.1 of the paper."""
    request = asked("--recipe", "paper", *DATA)
    recipe = request.recipe
    assert (request.architecture, recipe.batch_size, recipe.steps) == ("coca_2b", 65_536, 500_000)
    assert (recipe.optimizer, recipe.learning_rate, recipe.warmup, recipe.decay) == ("adafactor", 8e-4, 0.02, "linear")
    assert (recipe.weight_decay, recipe.contrastive_weight, recipe.caption_weight) == (0.01, 1.0, 2.0)


def test_the_papers_last_phase_is_one_pass_at_576_pixels(asked: Asked) -> None:
    request = asked("--recipe", "paper-high-resolution", "--init", "start", *DATA)
    assert (request.image_size, request.epochs, request.init) == (576, 1, Path("start"))
