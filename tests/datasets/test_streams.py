from __future__ import annotations

import functools
import gzip
import http.server
import json
import os
import pickle
import shlex
import shutil
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from coca_cli.datasets.example import Example, Member, Streamed
from coca_cli.datasets.sources import Source, find_source
from coca_cli.datasets.streams import expand_streams, is_stream, read_stream
from coca_cli.errors import BadExample, CocaError, MissingFile
from tests.datasets.test_shards import write_shard, write_special

NO_ROOT = Path("nowhere")
BLOCK = tarfile.BLOCKSIZE


def find(text: str) -> Source:
    return find_source(text, NO_ROOT)


def pipe(path: Path) -> str:
    return f"pipe:cat {shlex.quote(str(path))}"


def refusal(stream: str, kind: type[CocaError] = BadExample) -> str:
    with pytest.raises(kind) as error:
        list(read_stream("pairs", stream))
    assert stream in str(error.value)
    return str(error.value)


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    members = [("0.jpg", b"picture 0"), ("0.txt", "a cat\n a tabby "), ("a/1.png", b"picture 1"), ("a/1.json", "{}")]
    record = json.dumps({"captions": ["a dog"], "class": "dog", "label": 3})
    return write_shard(tmp_path / "0.tar", [*members, ("2.webp", b"picture 2"), ("2.json", record), ("3.mp3", b"song")])


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address at which the test's folder is served."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed, with which webdataset fetches")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None: ...

        def do_GET(self) -> None:
            if not self.path.endswith("/cut.tar"):
                return super().do_GET()
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write((tmp_path / "0.tar").read_bytes()[: 2 * BLOCK])
            return None

    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=tmp_path)) as served:
        thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def test_what_a_command_prints(captioned: Path) -> None:
    stream = pipe(captioned)

    source = find(stream)

    assert (source.kind, source.streams) == ("pairs", (stream,))
    assert list(source.read()) == [
        Example(f"{stream}:0", (Streamed(b"picture 0", f"{stream}:0.jpg"),), texts=("a cat", "a tabby")),
        Example(f"{stream}:2", (Streamed(b"picture 2", f"{stream}:2.webp"),), texts=("a dog",)),
    ]
    assert source.read_stream is not None
    assert list(source.read_stream(stream)) == list(source.read())


def test_what_a_server_sends(captioned: Path, server: str) -> None:
    source = find(f"{server}/0.tar")

    assert source.streams == (f"{server}/0.tar",)
    assert [example.texts for example in source.read()] == [("a cat", "a tabby"), ("a dog",)]


def test_the_same_examples_as_from_the_file(captioned: Path) -> None:
    def content(source: Source) -> list[tuple[str, bytes, tuple[str, ...]]]:
        found = []
        for example in source.read():
            medium = example.media[0]
            assert isinstance(medium, Member | Streamed)
            found.append((example.id.rpartition(":")[2], medium.read_bytes(), example.texts))
        return found

    assert content(find(pipe(captioned))) == content(find(str(captioned)))
    assert content(find(f"labels:{pipe(captioned)}")) == content(find(f"labels:{captioned}"))


@pytest.mark.peer
def test_the_same_members_as_webdataset_reads(captioned: Path) -> None:
    from webdataset import WebDataset

    samples = {s["__key__"]: s for s in WebDataset(pipe(captioned), shardshuffle=False) if s["__key__"] != "3"}

    ours = {e.id.rpartition(":")[2]: e for e in read_stream("pairs", pipe(captioned))}
    assert list(ours) == list(samples)
    for key, example in ours.items():
        (medium,) = example.media
        assert isinstance(medium, Streamed)
        assert medium.data in samples[key].values()


def test_braces_stand_for_several(tmp_path: Path, server: str) -> None:
    for name in ("00", "01", "02"):
        write_shard(tmp_path / f"{name}.tar", [("0.jpg", b"x"), ("0.txt", f"from {name}")])
    streams = tuple(f"{server}/{name}.tar" for name in ("00", "01", "02"))

    source = find(f"{server}/{{00..02}}.tar")

    assert source.streams == streams == expand_streams(f"{server}/{{00..02}}.tar")
    assert [example.texts[0] for example in source.read()] == ["from 00", "from 01", "from 02"]
    assert source.read_stream is not None
    assert [example.texts[0] for example in source.read_stream(streams[1])] == ["from 01"]
    again = pickle.loads(pickle.dumps(source))
    assert [example.texts[0] for example in again.read_stream(streams[2])] == ["from 02"]


def test_braces_of_the_shell_stay(captioned: Path) -> None:
    text = f"pipe:A={shlex.quote(str(captioned))}; cat ${{A}} | awk '{{print}}' >/dev/null; cat ${{A}}"

    assert expand_streams(text) == (text,)
    assert len(list(find(text).read())) == 2


def test_a_compressed_stream(captioned: Path, tmp_path: Path) -> None:
    (tmp_path / "0.tar.gz").write_bytes(gzip.compress(captioned.read_bytes()))

    assert len(list(find(pipe(tmp_path / "0.tar.gz")).read())) == 2


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([("0.json", '{"labels": ["cat", " dog", "cat"]}')], (None, ("cat", "dog"))),
        ([("0.json", '{"class": "cat", "label": 4}')], (4, ("cat",))),
        ([("0.json", '{"class_name": "cat"}')], (None, ("cat",))),
        ([("0.cls", "2"), ("0.json", '{"class": "cat"}')], (2, ("cat",))),
        ([("0.json", '{"labels": ["cat"], "class": "cat", "label": 1}'), ("0.txt", "cat")], (1, ("cat",))),
    ],
)
def test_class_names(
    tmp_path: Path, members: list[tuple[str, str]], expected: tuple[int | None, tuple[str, ...]]
) -> None:
    shard = write_shard(tmp_path / "0.tar", [("0.jpg", b"x"), *members, ("1.jpg", b"y")])

    source = find(pipe(shard))

    assert source.kind == "labels"
    assert source.templates
    assert [(example.label, example.texts) for example in source.read()] == [expected]


def test_a_class_index_without_a_name(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "0.tar", [("0.jpg", b"x"), ("0.cls", "7")])

    with pytest.raises(BadExample, match=r"0\.jpg has the class index 7 and no class name, and a stream has no list"):
        find(pipe(shard))


def test_the_kind_that_is_asked_for(tmp_path: Path) -> None:
    shard = write_shard(tmp_path / "0.tar", [("0.jpg", b"x"), ("0.txt", "a cat")])

    with pytest.raises(MissingFile, match="asks for class names, but the stream has captions alone: write pairs:"):
        find(f"labels:{pipe(shard)}")


@pytest.mark.parametrize("after", ["", "; sleep 60"])
def test_reading_can_stop_early_and_leaves_no_process(tmp_path: Path, after: str) -> None:
    members = [member for n in range(500) for member in ((f"{n}.jpg", bytes(20_000)), (f"{n}.txt", "a cat"))]
    shard = write_shard(tmp_path / "0.tar", members)

    process = tmp_path / "process"
    examples = read_stream("pairs", f"pipe:echo $$ > {shlex.quote(str(process))}; cat {shlex.quote(str(shard))}{after}")
    assert next(examples).texts == ("a cat",)
    number = int(process.read_text())
    os.kill(number, 0)  # it is there
    examples.close()  # type: ignore[attr-defined]

    with pytest.raises(ProcessLookupError):
        os.kill(number, 0)


@pytest.mark.parametrize("kept", [BLOCK // 2, BLOCK + 4, 2 * BLOCK, 2 * BLOCK + 100])
def test_a_stream_that_is_cut_off(captioned: Path, kept: int) -> None:
    data = captioned.read_bytes()
    captioned.write_bytes(data[:kept])

    assert "is no tar file, cut off or damaged (" in refusal(pipe(captioned))


def test_a_damaged_header(captioned: Path) -> None:
    data = bytearray(captioned.read_bytes())
    data[2 * BLOCK + 150] ^= 1
    captioned.write_bytes(data)

    assert "cut off or damaged (bad checksum)" in refusal(pipe(captioned))


@pytest.mark.parametrize("content", [b"", b"<html>not found</html>" * 100])
def test_no_tar(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.tar").write_bytes(content)

    assert "is no tar file" in refusal(pipe(tmp_path / "a.tar"))


@pytest.mark.parametrize("command", ["exit 3", "cat {}; exit 3", "head -c 700 {}; exit 3", "sleep 0.1; exit 3"])
def test_a_command_that_fails(captioned: Path, command: str) -> None:
    stream = f"pipe:{command.format(shlex.quote(str(captioned)))}"

    assert "failed with exit code 3: try it by itself in a shell" in refusal(stream, MissingFile)


def test_a_file_that_the_server_does_not_have(server: str) -> None:
    message = refusal(f"{server}/none.tar", MissingFile)

    assert f"cannot fetch {server}/none.tar: the server refuses it, or has no such file" in message


def test_a_file_that_is_cut_off_on_the_way(captioned: Path, server: str) -> None:
    assert "the file was cut off on the way (curl ended with 18)" in refusal(f"{server}/cut.tar", MissingFile)


def test_a_server_that_is_not_there(server: str) -> None:
    assert "the server does not answer" in refusal("http://127.0.0.1:9/0.tar", MissingFile)


def test_without_the_program_that_fetches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingFile, match=r"cannot start what reads http://127\.0\.0\.1:9/0\.tar: .*curl"):
        list(read_stream("pairs", "http://127.0.0.1:9/0.tar"))


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([("0.jpg", b"x"), ("1.jpg", b"x"), ("0.txt", "a")], "holds the members of '0' in two places"),
        ([("0.jpg", b"x"), ("0.jpg", b"x")], "holds '0.jpg' twice"),
        ([("0.jpg", b"x"), ("0.json", "{")], "0.json is not valid JSON ("),
        ([("0.jpg", b"x"), ("0.txt", b"\xff")], "0.txt is not UTF-8 text (byte 0)"),
        ([("0.jpg", b"x"), ("0.txt", bytes(2 << 20))], "more than the 1,048,576 allowed for a text"),
    ],
)
def test_a_bad_member_is_named(tmp_path: Path, members: list[tuple[str, bytes | str]], message: str) -> None:
    assert message in refusal(pipe(write_shard(tmp_path / "0.tar", members)))


def test_links_are_never_followed(tmp_path: Path) -> None:
    shard = write_special(tmp_path / "0.tar", "0.jpg", tarfile.SYMTYPE, "/etc/passwd")

    assert "holds '0.jpg' as a link, a device or a sparse file" in refusal(pipe(shard))


def test_a_pipe_is_not_run_before_it_is_read(tmp_path: Path) -> None:
    read_stream("pairs", f"pipe:touch {tmp_path / 'run'}")

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("pipe:cat a.tar", True), ("https://x/a.tar", True), ("http://x/a.tar", True), ("pipe.tar", False)],
)
def test_what_is_a_stream(text: str, expected: bool) -> None:
    assert is_stream(text) is expected
