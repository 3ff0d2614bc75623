from __future__ import annotations

import pytest

from coca_cli.cli import main
from coca_cli.progress import Reporter
from coca_cli.redaction import HIDDEN, all_without_secrets, typed_command, without_secrets


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://ann:pa55@host/a.tar", f"https://{HIDDEN}@host/a.tar"),
        ("https://token@host:8080/a.tar", f"https://{HIDDEN}@host:8080/a.tar"),
        ("https://host/a.tar?X-Amz-Signature=ab12&part=3", f"https://host/a.tar?X-Amz-Signature={HIDDEN}&part=3"),
        ("https://host/a.tar?sig=ab%2B&v=1", f"https://host/a.tar?sig={HIDDEN}&v=1"),
        ("pipe:curl -H 'Authorization: Bearer abc' https://h/a", f"pipe:curl -H 'Authorization: {HIDDEN}' https://h/a"),
        ("pipe:curl -H 'X-Api-Key: abc' https://h/a", f"pipe:curl -H 'X-Api-Key: {HIDDEN}' https://h/a"),
        ("pipe:HF_TOKEN=abc fetch {0..3}", f"pipe:HF_TOKEN={HIDDEN} fetch {{0..3}}"),
        ("fetch hf_AbCdEfGhIjKlMnOpQrStUv", f"fetch {HIDDEN}"),
    ],
)
def test_secrets_are_left_out(text: str, kept: str) -> None:
    assert without_secrets(text) == kept


@pytest.mark.parametrize(
    "text",
    [
        "train-{0000..0008}.tar",
        "wds:/data/cc3m",
        "https://host/a.tar?part=3",
        "hf-hub:owner/name@0123abc",
        "pipe:cat a@b.tar",
        "model.token_embedding=3",
        "text.tokens=3",
        "key frames",
        "C:\\data\\coco",
        "user@host:/data",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_all_texts_of_settings_are_looked_at() -> None:
    found = all_without_secrets({"https://a:b@h": [1, None, "https://a:b@h"], "deep": {"x": ("https://a:b@h", 2.5)}})
    address = f"https://{HIDDEN}@h"
    assert found == {address: [1, None, address], "deep": {"x": [address, 2.5]}}


def test_the_command_can_be_typed_again_but_for_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["coca", "pretrain", "--data", "https://a:b@h/x y.tar"])
    assert typed_command() == f"coca pretrain --data 'https://{HIDDEN}@h/x y.tar'"


def test_neither_notices_nor_errors_show_them(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = Reporter()
    reporter.notice("data: https://a:pa55@h/x.tar")
    reporter.warn("left out: https://a:pa55@h/x.tar")
    with pytest.raises(SystemExit):
        main(["data", "check", "https://a:pa55@h/x.tar"])
    told = capsys.readouterr().err
    assert "pa55" not in told
    assert told.count(f"https://{HIDDEN}@h/x.tar") == 3
