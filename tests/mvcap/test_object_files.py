"""Objects that are either wholly there or not at all, on a real server over HTTP."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mvcap import files, object_files
from mvcap.errors import DiskFullError, OutputError, StorageUnreachableError
from mvcap.places import FileFacts, ObjectPlace

SHA256_OF_ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.fixture
def root(s3: Any) -> ObjectPlace:
    return ObjectPlace(s3.bucket, "data sets/a+b#c")


@pytest.fixture
def new_client(s3: Any) -> Iterator[Callable[[], None]]:
    """Let the next request be made with what the environment says by then."""
    object_files._storage().clear_instance_cache()
    yield object_files._storage().clear_instance_cache
    object_files._storage().clear_instance_cache()


def test_what_is_written_is_read_back_and_known_by_size(root: ObjectPlace):
    files.write_bytes(root / "x", b"abc")
    assert (files.read_bytes(root / "x"), files.facts(root / "x")) == (b"abc", FileFacts(3, SHA256_OF_ABC))
    assert files.sha256_of(root / "x") == SHA256_OF_ABC
    files.write_json(root / "x", {"b": 1, "a": "ü"})
    assert files.read_bytes(root / "x") == '{\n "a": "ü",\n "b": 1\n}\n'.encode()


def test_what_is_not_there_is_told_like_a_missing_file(root: ObjectPlace):
    assert files.facts(root / "x") is None
    assert not files.exists(root / "x")
    with pytest.raises(FileNotFoundError):
        files.read_bytes(root / "x")
    with pytest.raises(FileNotFoundError), files.open_input(root / "x"):
        pass
    files.delete(root / "x")
    assert files.list_files(root) == []


def test_of_many_that_create_one_object_one_wins(root: ObjectPlace):
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: files.create_if_absent(root / "x", bytes([n])), range(8)))
    assert won.count(True) == 1
    assert files.read_bytes(root / "x") == bytes([won.index(True)])


def test_of_many_that_replace_one_version_one_wins_and_an_old_one_is_refused(root: ObjectPlace):
    files.write_bytes(root / "x", b"old")
    _, version = files.read_versioned(root / "x")
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda n: files.replace(root / "x", bytes([n]), version), range(8)))
    assert won.count(True) == 1
    assert files.read_bytes(root / "x") == bytes([won.index(True)])
    assert not files.replace(root / "gone", b"new", version)
    assert not files.exists(root / "gone")


def test_a_put_whose_answer_was_lost_still_counts_as_this_callers(root: ObjectPlace, s3: Any):
    def lose_the_first_answer(request: Any, environ: Any) -> None:
        s3.faults.remove(lose_the_first_answer)
        files.write_bytes(root / "x", b"mine")  # the server took it in, and the client sends it again

    s3.faults.append(lose_the_first_answer)
    assert files.create_if_absent(root / "x", b"mine")
    assert not files.create_if_absent(root / "x", b"another's")


def test_staged_files_appear_at_the_end_with_their_checksum_and_leave_nothing_here(root: ObjectPlace):
    with files.staged(root / "x.bin") as path:
        path.write_bytes(b"abc")
        assert not files.exists(root / "x.bin")
    assert files.facts(root / "x.bin") == FileFacts(3, SHA256_OF_ABC)
    assert not path.parent.exists()


def test_a_failed_write_leaves_the_old_object(root: ObjectPlace):
    files.write_bytes(root / "x", b"old")

    def write_half() -> None:
        with files.staged(root / "x") as path:
            path.write_bytes(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert files.read_bytes(root / "x") == b"old"


def test_large_files_are_sent_in_parts_and_moved_on_the_server_with_their_checksum(
    root: ObjectPlace, tmp_path: Path, s3: Any
):
    content = bytes(range(256)) * 2**17 + b"end"  # 32 MB and a little
    (tmp_path / "big").write_bytes(content)
    sent = files.publish(tmp_path / "big", root / "big")
    assert len([request for request in s3.seen("PUT", "big") if "partNumber" in request.query]) == 3
    files.move(root / "big", root / "moved")
    assert not files.exists(root / "big")
    assert files.facts(root / "moved") == sent == FileFacts(len(content), files.sha256_of(root / "moved"))
    with files.open_input(root / "moved") as file:
        file.seek(-3, 2)
        assert file.read() == b"end"
    assert sum(len(request.key) > 0 for request in s3.seen("GET", "moved")) < 10  # not the whole for its end


def test_lists_go_on_over_pages_and_stay_below_their_prefix(root: ObjectPlace, monkeypatch: Any):
    original = object_files._call

    def small_pages(method: str, **arguments: Any) -> Any:
        if method == "list_objects_v2":
            arguments["MaxKeys"] = 2
        return original(method, **arguments)

    monkeypatch.setattr(object_files, "_call", small_pages)
    names = ["a", "b/c", "b/d", "e", "f"]
    for name in names:
        files.write_bytes(root / name, b"")
    files.write_bytes(root.with_name("a+b#cd") / "not below", b"")
    assert files.list_files(root) == [root / name for name in names]
    assert files.list_files(root / "b") == [root / "b/c", root / "b/d"]


def test_uploads_that_were_left_unfinished_are_let_go(root: ObjectPlace, s3: Any):
    for place in (root / "x", root.with_name("another's")):
        object_files._call("create_multipart_upload", Bucket=place.bucket, Key=place.key)
    files.discard_uploads(root)
    left = object_files._call("list_multipart_uploads", Bucket=s3.bucket)["Uploads"]
    assert [upload["Key"] for upload in left] == ["data sets/another's"]


def test_unfinished_uploads_are_let_go_however_many_pages_their_list_has(root: ObjectPlace, s3: Any):
    s3.uploads_listed = 2
    for name in ("a", "a", "b", "c", "d"):
        object_files._call("create_multipart_upload", Bucket=root.bucket, Key=(root / name).key)
    files.discard_uploads(root)
    assert not object_files._call("list_multipart_uploads", Bucket=s3.bucket).get("Uploads")


def test_what_is_fetched_at_once_counts_until_the_end_but_not_for_what_this_thread_changes(
    root: ObjectPlace, s3: Any
):
    for name in "abc":
        files.write_bytes(root / name, name.encode())
    names = [root / name for name in "abcd"]
    with files.fetched(names, lambda: names):
        s3.requests.clear()
        assert [files.read_bytes(place) for place in names[:3]] == [b"a", b"b", b"c"]
        assert [files.exists(place) for place in names] == [True, True, True, False]
        with pytest.raises(FileNotFoundError):
            files.read_bytes(root / "d")
        assert s3.requests == []
        with ThreadPoolExecutor(1) as another:  # what another thread does is not known to this one
            another.submit(files.write_bytes, root / "a", b"another").result()
        assert files.read_bytes(root / "a") == b"a"
        files.write_bytes(root / "b", b"new")
        files.delete(root / "c")
        files.create_if_absent(root / "d", b"d")
        assert files.read_bytes(root / "b") == b"new"
        assert [files.exists(place) for place in names] == [True, True, False, True]
        files.move(root / "b", root / "d")
        assert (files.exists(root / "b"), files.read_bytes(root / "d")) == (False, b"new")
        assert files.facts(root / "a", anew=True) == FileFacts(7, files.sha256_of(root / "a"))
    assert files.read_bytes(root / "a") == b"another"


def test_of_very_many_files_only_so_much_is_kept(root: ObjectPlace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(object_files, "FETCHED_TOGETHER", 2)
    monkeypatch.setattr(object_files, "FETCHED_BYTES", 5)
    names = [root / str(number) for number in range(6)]
    for place in names:
        files.write_bytes(place, b"xyz")
    with files.fetched(names, lambda: []):
        assert len(object_files.known().contents) == 2
        assert [files.read_bytes(place) for place in names] == [b"xyz"] * 6


def test_an_answer_that_breaks_off_is_asked_for_again(root: ObjectPlace, s3: Any):
    files.write_bytes(root / "x", b"a whole answer")
    s3.torn = 2
    assert files.read_bytes(root / "x") == b"a whole answer"
    assert len(s3.seen("GET")) == 3
    s3.torn = 99
    with pytest.raises(StorageUnreachableError, match="does not answer"):
        files.read_bytes(root / "x")


def test_the_checksum_is_that_of_the_content_where_nobody_told_one(root: ObjectPlace):
    object_files._call("put_object", Bucket=root.bucket, Key=(root / "x").key, Body=b"abc")
    assert files.facts(root / "x") == FileFacts(3)
    assert files.checksum_of(root / "x") == SHA256_OF_ABC


# refusals


def test_a_probe_leaves_nothing(root: ObjectPlace):
    files.probe(root)
    assert files.list_files(root) == []


def test_a_missing_bucket_is_named_with_the_remedy(s3: Any):
    with pytest.raises(OutputError, match="there is no bucket not-here: create it"):
        files.probe(ObjectPlace("not-here", "x"))


@pytest.mark.parametrize("methods", [("HEAD",), ("PUT",), ()])
def test_denied_access_says_which_rights_are_needed(root: ObjectPlace, s3: Any, methods: tuple[str, ...]):
    with (
        s3.refusing("403 Forbidden", "AccessDenied", *methods),
        pytest.raises(OutputError, match=r"access is denied .*s3:PutObject.*AWS_PROFILE"),
    ):
        files.probe(root)


def test_missing_credentials_are_told_before_anything_is_sent(
    root: ObjectPlace, s3: Any, new_client: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    new_client()
    s3.requests.clear()
    with pytest.raises(OutputError, match="there are no credentials; set AWS_PROFILE"):
        files.probe(root)
    assert s3.requests == []


def test_an_endpoint_that_is_gone_is_named_without_what_is_secret_in_it(
    root: ObjectPlace, s3: Any, new_client: Callable[[], None], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://someone:pass-word@127.0.0.1:9")
    new_client()
    with pytest.raises(StorageUnreachableError, match=r"http://127\.0\.0\.1:9 does not answer") as caught:
        files.probe(root)
    assert "pass-word" not in str(caught.value)


def test_storage_that_ignores_conditions_is_refused(root: ObjectPlace, s3: Any):
    def forget_conditions(_: Any, environ: dict[str, Any]) -> None:
        environ.pop("HTTP_IF_NONE_MATCH", None)

    with s3.failing(forget_conditions), pytest.raises(OutputError, match="ignores If-None-Match"):
        files.probe(root)
    assert files.list_files(root) == []


@pytest.mark.parametrize(
    ("status", "code", "kind", "told"),
    [
        ("507 Insufficient Storage", "XMinioStorageFull", DiskFullError, "no space left to write s3://"),
        ("403 Forbidden", "QuotaExceeded", DiskFullError, "no space left to write s3://"),
        ("400 Bad Request", "ExpiredToken", OutputError, "access is denied"),
        ("301 Moved Permanently", "PermanentRedirect", OutputError, "set AWS_DEFAULT_REGION"),
        ("403 Forbidden", "RequestTimeTooSkewed", OutputError, "clock"),
        ("501 Not Implemented", "NotImplemented", OutputError, "lacks what datasets need"),
        ("400 Bad Request", "Odd", OutputError, "refuses a request"),
    ],
)
def test_each_refusal_says_what_it_means(
    root: ObjectPlace, s3: Any, status: str, code: str, kind: type[Exception], told: str
):
    with s3.refusing(status, code, "PUT"), pytest.raises(kind, match=told):
        files.write_bytes(root / "x", b"x")


@pytest.mark.slow
def test_storage_that_fails_for_a_while_is_asked_again_and_then_named(root: ObjectPlace, s3: Any):
    tries = []

    def fail_twice(request: Any, _: Any) -> tuple[str, bytes] | None:
        tries.append(request)
        return ("503 Slow Down", b"<Error><Code>SlowDown</Code></Error>") if len(tries) < 3 else None

    with s3.failing(fail_twice):
        files.write_bytes(root / "x", b"x")
    assert len(tries) == 3
    with s3.refusing("500 Internal", "InternalError"), pytest.raises(StorageUnreachableError, match="fails"):
        files.read_bytes(root / "x")
