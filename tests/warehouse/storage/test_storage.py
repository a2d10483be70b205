"""Storage: what one machine puts, another reads, whole; and what is told when it cannot."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb
import pytest

from catalog.errors import LorauterError, SettingError, SnapshotError, StorageError
from warehouse.ledger.ledger import Ledger
from warehouse.plans.plan import Conditions, Work, answers_of, finish_shard, forget_plan, make_plan, read_shard
from warehouse.sql.session import connect as connect_sql
from warehouse.storage.opening import open_storage
from warehouse.storage.storage import Storage
from warehouse.storage.url import checked_storage

T1, T2 = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
HERE = Conditions("tiny/llama", "a" * 40, "float32", "1")


@pytest.fixture(params=["folder", "s3", "memory"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A storage of each kind: a folder, S3, and one that only fsspec knows."""
    if request.param == "s3":
        return f"{request.getfixturevalue('s3_bucket')}/some/prefix"
    return str(tmp_path / "shared") if request.param == "folder" else f"memory://{tmp_path.name}"


@pytest.fixture
def here(where: str, tmp_path: Path) -> Storage:
    """The storage as this machine sees it."""
    return open_storage(where, tmp_path / "here")


@pytest.fixture
def there(where: str, tmp_path: Path) -> Storage:
    """The same as another machine sees it."""
    return open_storage(where, tmp_path / "there")


def put(storage: Storage, name: str, text: str) -> None:
    storage.put(name, lambda path: path.write_text(text))


def weights(adapter: str, size: int = 1, at: datetime = T1) -> dict[str, Any]:
    row = {"adapter": adapter, "size": size, "sha256": "f", "non_finite": [], "zero_b": False}
    return {**row, "unsupported": None, "mean_norm": 0.5, "norms": None, "at": at}


def counted(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The requests that the S3 server has answered since the last call."""
    lines = [record.getMessage().split('"')[1] for record in caplog.records if record.name == "werkzeug"]
    caplog.clear()
    return [line.removesuffix(" HTTP/1.1") for line in lines]


def test_what_one_machine_puts_another_reads(here: Storage, there: Storage) -> None:
    put(here, "a/x.txt", "é")
    put(here, "a/y.txt", "")
    assert there.local("a/x.txt").read_text() == "é"
    assert [path.name for path in there.locals("a")] == ["x.txt", "y.txt"]
    assert (there.names("a"), there.names(), there.names("b")) == ({"x.txt", "y.txt"}, set(), set())
    assert there.present(["a/x.txt", "a/z.txt"]) == {"a/x.txt"}


def test_a_subfolder_is_a_storage(here: Storage, there: Storage) -> None:
    put(here.sub("a"), "x.txt", "1")
    assert there.sub("a").local("x.txt").read_text() == "1"
    assert there.sub("a").address("x.txt") == there.address("a/x.txt")


def test_what_is_deleted_is_gone_for_all(here: Storage, there: Storage) -> None:
    put(here, "x.txt", "1")
    there.local("x.txt")
    here.delete("x.txt")
    here.delete("x.txt")
    assert (there.names(), there.locals(""), there.present(["x.txt"])) == (set(), [], set())
    with pytest.raises(FileNotFoundError):
        there.local("x.txt")


def test_a_write_that_fails_shows_nothing(here: Storage, there: Storage) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        here.put("x.txt", fail)
    assert (there.names(), here.names()) == (set(), set())


def test_a_touched_file_has_another_stamp(here: Storage, there: Storage) -> None:
    here.touch("x.alive")
    first = there.stamps()
    here.touch("x.alive")
    second = there.stamps()
    assert first.keys() == second.keys() == {"x.alive"}
    assert first != second


def test_a_ledger_is_the_same_on_every_machine(here: Storage, there: Storage) -> None:
    Ledger(here).append("weights", [weights("a", size=2, at=T2)], "1")
    Ledger(there).append("weights", [weights("a"), weights("b")], "2")
    Ledger(there).append("weights", [weights("c")], "1")  # the name is taken
    for ledger in (Ledger(here), Ledger(there)):
        assert {row["adapter"]: row["size"] for row in ledger.current("weights")} == {"a": 2, "b": 1}
        assert ledger.index("weights", ["size"]).columns == {("a",): (2,), ("b",): (1,)}
        assert ledger.names("weights") == {"1", "2"}
        assert ledger.present("weights", ["1", "3"]) == {"1"}
    assert Ledger(here).changes("weights").append([weights("a", size=2), weights("b", size=9)]) == 1
    assert Ledger(there).changes("weights").append([weights("b", size=9)]) == 0


def test_a_shared_ledger_is_queried_with_sql(here: Storage, there: Storage) -> None:
    Ledger(here).append("weights", [weights("a"), weights("b")])
    with connect_sql(None, Ledger(there)) as connection:
        assert connection.execute("SELECT count(*) FROM ledger_weights").fetchall() == [(2,)]
        with pytest.raises(duckdb.PermissionException):
            connection.execute("FROM read_csv('/etc/passwd')")


def test_shards_are_made_on_any_machine(here: Storage, there: Storage) -> None:
    """One machine plans, two finish a shard each, the first one reads what they made."""
    work = [Work(prompt, (("ann/x@1", 1.0),), 3, "colours", prompt) for prompt in ("a", "bb", "ccc")]
    plan = make_plan(here.sub("plans"), Ledger(here.sub("ledger")), work, HERE, 2)
    for machine, number in ((there, 1), (here, 0)):
        shard = read_shard(machine.sub("plans"), plan.name, number)
        finish_shard(Ledger(machine.sub("ledger")), shard, [f"to {item.prompt}" for item in shard.work])
    assert make_plan(there.sub("plans"), Ledger(there.sub("ledger")), work, HERE, 2).shards == {}
    assert answers_of(Ledger(here.sub("ledger")), work, HERE) == ["to a", "to bb", "to ccc"]
    forget_plan(here.sub("plans"), plan.name)
    with pytest.raises(SnapshotError, match=r"There is no plan .*LORAUTER_STORAGE on every machine"):
        read_shard(there.sub("plans"), plan.name, 0)


def test_a_damaged_fragment_is_named_and_heals_when_it_is_deleted(here: Storage, there: Storage) -> None:
    put(here, "weights/bad.parquet", "PAR1 and no more")
    with pytest.raises(SnapshotError) as caught:
        Ledger(there).read("weights")
    assert there.address("weights/bad.parquet") in caught.value.cause
    here.delete("weights/bad.parquet")
    Ledger(here).append("weights", [weights("a")], "bad")
    assert Ledger(there).read("weights", ["adapter"]).to_pylist() == [{"adapter": "a"}]


def test_a_fragment_is_fetched_once(s3_bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Ledger(open_storage(s3_bucket, tmp_path / "here")).append("weights", [weights("a")], "one")
    ledger = Ledger(open_storage(s3_bucket, tmp_path / "there"))
    ledger.read("weights")
    with caplog.at_level(logging.INFO, "werkzeug"):
        ledger.read("weights")
        asked = counted(caplog)
    assert [line.partition("?")[0] for line in asked] == [f"GET /{s3_bucket[5:]}"], "one listing"


def test_a_large_ledger_is_listed_a_thousand_fragments_a_request(
    s3_bucket: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from moto.s3.models import s3_backends

    for number in range(3500):
        key = f"ledger/outputs/base=org%2Fbase/{number:05d}.parquet"
        s3_backends["123456789012"]["aws"].put_object(s3_bucket[5:], key, b"")
    ledger = Ledger(open_storage(s3_bucket, tmp_path).sub("ledger"))
    with caplog.at_level(logging.INFO, "werkzeug"):
        names = ledger.names("outputs", "0123")
        asked = counted(caplog)
    assert (len(names), len(asked)) == (10, 6), "four for the fragments, one each for folders and the table's own"


def test_a_put_that_is_killed_leaves_nothing(s3_bucket: str, tmp_path: Path) -> None:
    """The object is large enough for several parts: some are there when the process dies."""
    program = (
        "import sys; from pathlib import Path; from warehouse.storage.opening import open_storage\n"
        f"storage = open_storage({s3_bucket!r}, Path(sys.argv[1]))\n"
        "storage.put('x', lambda path: path.write_bytes(bytes(150_000_000)))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path / "killed")])
    storage = open_storage(s3_bucket, tmp_path / "here")
    while b"<UploadId>" not in _uploads(s3_bucket):
        assert process.poll() is None, "it was too quick"
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert (storage.names(), storage.present(["x"])) == (set(), set())
    put(storage, "x", "whole")
    assert storage.local("x").read_text() == "whole"


def _uploads(bucket: str) -> bytes:
    """What the server tells of uploads that are neither finished nor given up."""
    with urllib.request.urlopen(f"{os.environ['AWS_ENDPOINT_URL']}/{bucket[5:]}?uploads") as answer:
        return bytes(answer.read())


def told(where: str, tmp_path: Path) -> LorauterError:
    """The error that a storage ends with which cannot be used."""
    with pytest.raises(LorauterError) as caught:
        open_storage(checked_storage(where), tmp_path).names("ledger")
    return caught.value


def test_a_bucket_that_does_not_exist_is_told(s3_bucket: str, tmp_path: Path) -> None:
    error = told("s3://no-such-bucket/x", tmp_path)
    assert isinstance(error, StorageError)
    assert error.cause == "s3://no-such-bucket/x is in a bucket that does not exist."
    assert error.next_step == "Make it, or mend LORAUTER_STORAGE."


def test_wrong_credentials_are_told(
    s3_bucket: str, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _check_credentials(s3_server, after=0)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    try:
        error = told(f"{s3_bucket}/x", tmp_path)
    finally:
        _check_credentials(s3_server, after=10**9)
    assert isinstance(error, StorageError)
    assert error.cause.startswith(f"{s3_bucket}/x/ledger cannot be listed (")
    assert error.next_step.startswith("See that this machine's credentials (for S3 AWS_ACCESS_KEY_ID")
    assert "wrong-secret" not in str(error)


def _check_credentials(server: str, after: int) -> None:
    """Lets the server look at credentials after so many requests."""
    request = urllib.request.Request(f"{server}/moto-api/reset-auth", data=str(after).encode(), method="POST")
    request.add_header("Content-Type", "text/plain")
    urllib.request.urlopen(request).close()


def test_a_server_that_does_not_answer_is_told(s3_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    error = told(f"{s3_bucket}/x", tmp_path)
    assert isinstance(error, StorageError)
    assert "AWS_ENDPOINT_URL" in error.next_step


def test_a_short_outage_is_waited_for(
    s3_bucket: str, s3_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bucket is reached by a second server, which goes and comes back."""
    from moto.server import ThreadedMotoServer

    first = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    first.start()
    port = first.get_host_and_port()[1]
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    storage = open_storage(s3_bucket, tmp_path)
    put(storage, "x", "1")
    first.stop()
    second = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    Timer(3, second.start).start()
    try:
        assert storage.names() == {"x"}
    finally:
        second.stop()


def test_a_kind_of_storage_that_nobody_knows_is_told(tmp_path: Path) -> None:
    error = told("nope://x/y", tmp_path)
    assert isinstance(error, SettingError)
    assert error.next_step == "Use a folder or s3://bucket/prefix."


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIA:se/cret@bucket/x",
        "s3://AKIA:secret@bucket/x",
        "s3://bucket/x?access_key=AKIA&secret_key=secret",
        "abfs://box/x?sas_token=secret",
        "sftp://me:secret@host/x",
    ],
)
def test_a_url_with_credentials_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingError, match=r"holds credentials.* Leave them out") as caught:
        checked_storage(url)
    assert "secret" not in str(caught.value).replace("SECRET", "").replace("secrets", "")
    assert "AKIA" not in str(caught.value)


def test_a_setting_is_a_whole_path_or_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    named = ("", "x", "~/x", "file:///srv/x", "s3://bucket/x/", "s3://bucket?region=eu-west-1")
    meant = ["", str(tmp_path / "x"), str(Path.home() / "x"), "/srv/x", "s3://bucket/x", "s3://bucket?region=eu-west-1"]
    assert [checked_storage(where) for where in named] == meant
