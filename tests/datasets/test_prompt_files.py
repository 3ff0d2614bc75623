from __future__ import annotations

import json
from pathlib import Path

import pytest

from coca_cli.datasets.example import Prompts
from coca_cli.datasets.prompt_files import override_prompts, read_lines, read_templates
from coca_cli.datasets.templates import GENERAL_TEMPLATES
from coca_cli.errors import BadExample, CocaError, MissingFile

OWN = Prompts(("cat", "dog", "crane"), ("a {c}.",))


def named(tmp_path: Path, content: str | bytes, file: str = "names.txt", own: Prompts = OWN) -> Prompts:
    return override_prompts(own, write(tmp_path / file, content), None)


def worded(tmp_path: Path, content: str | bytes, file: str = "templates.txt") -> Prompts:
    return override_prompts(OWN, None, write(tmp_path / file, content))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_without_files_nothing_changes() -> None:
    assert override_prompts(OWN, None, None) == OWN


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("names.txt", "Katze\nHund\nKran\n"),
        ("names.txt", "Katze\r\n\r\n  Hund \r\nKran"),
        ("names.txt", "\ufeffKatze\nHund\nKran\n"),
        ("names", "Katze\nHund\nKran\n"),
        ("names.json", '["Katze", "Hund", "Kran"]'),
        ("names.JSON", '\ufeff["Katze", "Hund", "Kran"]'),
        ("names.json", '{"crane": "Kran", "cat": "Katze", "dog": "Hund"}'),
    ],
)
def test_class_names_are_read(tmp_path: Path, file: str, content: str) -> None:
    assert named(tmp_path, content, file) == Prompts(("Katze", "Hund", "Kran"), OWN.templates)


def test_an_object_renames_some_classes_and_keeps_the_others(tmp_path: Path) -> None:
    renamed = named(tmp_path, '{"crane": "crane (bird)"}', "names.json")
    assert renamed.class_names == ("cat", "dog", "crane (bird)")


def test_one_name_for_two_classes_of_one_name(tmp_path: Path) -> None:
    own = Prompts(("crane", "cat", "crane"), OWN.templates)
    assert named(tmp_path, '{"crane": "bird"}', "names.json", own).class_names == ("bird", "cat", "bird")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("templates.txt", "a photo of a {c}.\nthe {c}\n"),
        ("templates.txt", "\ufeffa photo of a {}.\n\nthe {}\n"),
        ("templates.json", '["a photo of a {c}.", "the {}"]'),
    ],
)
def test_templates_are_read(tmp_path: Path, file: str, content: str) -> None:
    assert worded(tmp_path, content, file) == Prompts(OWN.class_names, ("a photo of a {c}.", "the {c}"))


def test_names_may_be_anything_where_the_dataset_has_none(tmp_path: Path) -> None:
    assert named(tmp_path, "a\nb\n", own=Prompts((), OWN.templates)).class_names == ("a", "b")


@pytest.mark.parametrize(("content", "count"), [("a\nb\n", 2), ("a\nb\nc\nd\n", 4)])
def test_another_number_of_names_is_refused(tmp_path: Path, content: str, count: int) -> None:
    message = rf"names.txt has {count} names, but the dataset has 3 classes: cat, dog, crane$"
    with pytest.raises(CocaError, match=message):
        named(tmp_path, content)


def test_only_some_of_many_classes_are_shown(tmp_path: Path) -> None:
    own = Prompts(tuple(f"class {i}" for i in range(1000)), OWN.templates)
    with pytest.raises(CocaError, match=r"but the dataset has 1,000 classes: class 0, .*, class 4, \.\.\.$"):
        named(tmp_path, "a\n", own=own)


def test_renaming_an_unknown_class_is_refused(tmp_path: Path) -> None:
    message = r"names\.json renames 'Cat', which is no class; classes: cat, dog, crane"
    with pytest.raises(CocaError, match=message):
        named(tmp_path, '{"Cat": "Katze", "dog": "Hund"}', "names.json")


def test_templates_are_no_object(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match="should be a list of templates, not names with values"):
        worded(tmp_path, '{"a": "b"}', "templates.json")


@pytest.mark.parametrize("template", ["a photo", "a photo of a {class}", "a photo of a {0}", "a {C}"])
def test_a_template_without_a_place_for_the_name_is_refused(tmp_path: Path, template: str) -> None:
    with pytest.raises(BadExample, match=r"has no \{c\} where the class name goes") as refusal:
        worded(tmp_path, f"the {{c}}\n{template}\n")
    assert repr(template) in str(refusal.value)


@pytest.mark.parametrize(
    ("file", "content"), [("a.txt", ""), ("a.txt", "\ufeff\n \n"), ("a.json", "[]"), ("a.json", "{}")]
)
def test_an_empty_file_is_refused(tmp_path: Path, file: str, content: str) -> None:
    with pytest.raises(BadExample, match="is empty; write one name or template a line"):
        named(tmp_path, content, file)
    with pytest.raises(BadExample, match="is empty; write one name or template a line"):
        worded(tmp_path, content, file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match=r"no file .*no\.txt; check the path after --classnames or --templates"):
        override_prompts(OWN, tmp_path / "no.txt", None)


@pytest.mark.parametrize("content", ["cafés\n".encode("latin-1"), "\ufeffcat\n".encode("utf-16-le")])
def test_another_encoding_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadExample, match="cannot be read as UTF-8 text"):
        named(tmp_path, content)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=r"cannot be read as UTF-8 text: .*directory"):
        override_prompts(OWN, tmp_path, None)


@pytest.mark.parametrize("content", ['["cat", "dog"', "cat\ndog\ncrane\n", "[" * 100_000])
def test_bad_json_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(BadExample, match=r"names\.json is not JSON: "):
        named(tmp_path, content, "names.json")


@pytest.mark.parametrize("content", ['"cat"', "3", "null", '["cat", 2]', '{"cat": 1}', '{"cat": ["Katze"]}', "[[]]"])
def test_json_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    assert json.loads(content) is not Ellipsis
    with pytest.raises(BadExample, match="should be a list of texts, or an object of old and new names"):
        named(tmp_path, content, "names.json")


def test_the_dataset_s_own_file_has_one_name_a_line(tmp_path: Path) -> None:
    file = write(tmp_path / "classnames.txt", "\ufeffcat\r\n dog \nžába\n\n\n")
    assert read_lines(file) == ("cat", "dog", "žába")
    assert read_lines(tmp_path / "no.txt") == ()


def test_an_empty_line_between_names_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match="line 2 is empty, but every line counts: fill or remove it"):
        read_lines(write(tmp_path / "classnames.txt", "cat\n\ndog\n"))


def test_the_dataset_s_own_file_must_be_utf_8(tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=r"is not UTF-8 text \(byte 3\): write it as UTF-8"):
        read_lines(write(tmp_path / "classnames.txt", b"caf\xe9\n"))


def test_the_dataset_s_own_templates_are_checked(tmp_path: Path) -> None:
    assert read_templates(write(tmp_path / "a.txt", "the {c}\n")) == ("the {c}",)
    assert read_templates(tmp_path / "no.txt") == GENERAL_TEMPLATES
    with pytest.raises(BadExample, match=r"b\.txt: the template 'a photo' has no \{c\} where the class name goes"):
        read_templates(write(tmp_path / "b.txt", "the {c}\na photo\n"))
