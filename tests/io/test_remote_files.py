"""A data root in S3, on a real server of it: brought once, mended, refused in a sentence."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from pyarrow.fs import FileSystem

from drmn.errors import ConfigError, DataError
from drmn.io.remote_files import local

moto = pytest.importorskip("moto.server", reason="no moto: pip install -e '.[dev]'")


PLAIN = "scheme=http&region=us-east-1"


@pytest.fixture(scope="module")
def address():
    """Return the address of a server of S3."""
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(address, monkeypatch, request):
    """Return the URI of a bucket with some files, and a function that writes one more."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "for tests alone")
    name = f"b{abs(hash(request.node.name)) % 10**9}"
    query = f"endpoint_override={address}&scheme=http&region=us-east-1&allow_bucket_creation=true"
    store, _ = FileSystem.from_uri(f"s3://{name}?{query}")
    store.create_dir(name)

    def write(path, content):
        with store.open_output_stream(f"{name}/data/{path}") as file:
            file.write(content)

    write("xlsa17/data/CUB/splits.mat", b"splits")
    write("images/a/1.jpg", b"photo")
    yield f"s3://{name}/data?{query}", write, lambda path: store.delete_file(f"{name}/data/{path}")
    store.delete_dir_contents(name)


def files(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def bring(uri, cache):
    """Return what is there then, and how many files were brought."""
    heard = []
    place = local(uri, cache, lambda done, total: heard.append((done, total)))
    return files(place), len(heard)


def test_files_are_brought_once_and_what_changed_again(bucket, tmp_path):
    uri, write, remove = bucket
    all_ = {"xlsa17/data/CUB/splits.mat": b"splits", "images/a/1.jpg": b"photo"}
    assert bring(uri, tmp_path) == (all_, 2)
    assert bring(uri, tmp_path) == (all_, 0)
    write("images/a/1.jpg", b"another photo")
    write("images/a/2.jpg", b"more")
    remove("xlsa17/data/CUB/splits.mat")
    now = {"images/a/1.jpg": b"another photo", "images/a/2.jpg": b"more"}
    assert bring(uri, tmp_path) == (now, 2)


def test_a_file_that_is_gone_here_or_was_never_whole_is_brought_again(bucket, tmp_path):
    uri, _, _ = bucket
    whole, _ = bring(uri, tmp_path)
    (place,) = tmp_path.glob("*/files/images/a")
    (place / "1.jpg").unlink()
    (place / ".1.jpg.part").write_bytes(b"ph")  # as a killed process leaves it
    assert bring(uri, tmp_path) == (whole, 1)


def test_a_folder_stays_what_it_is(tmp_path):
    never = pytest.fail
    assert local(str(tmp_path), tmp_path, never) == tmp_path
    assert local(f"file://{tmp_path}", tmp_path, never) == tmp_path


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda uri: uri.replace("/data?", "/none?"), DataError, "; give a bucket, and a place in"),
        (lambda uri: uri.replace("s3://b", "s3://c"), DataError, "; give a bucket, and a place in"),
        (
            lambda _: f"s3://b/data?endpoint_override=127.0.0.1:9&{PLAIN}",
            DataError,
            "; see that this machine reaches the store",
        ),
        (
            lambda _: "s3://no-such-bucket/data",
            DataError,
            "it cannot be read",
        ),  # asks for its region
        (lambda _: "ftp://there/data", ConfigError, "give a folder or s3://"),
        (lambda _: "s3://me:open-sesame@there/data", ConfigError, "holds a password"),
    ],
)
def test_what_cannot_be_read_is_told_in_a_sentence(bucket, tmp_path, change, error, message):
    with pytest.raises(error) as refused:
        local(change(bucket[0]), tmp_path, pytest.fail)
    assert message in str(refused.value)
    assert "open-sesame" not in str(refused.value)
    assert "\n" not in str(refused.value)


class Refuses(BaseHTTPRequestHandler):
    """S3 as it answers a stranger."""

    def do_GET(self):
        self.send_response(403)
        self.send_header("Content-Type", "application/xml")
        self.end_headers()
        self.wfile.write(
            b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        )

    do_HEAD = do_GET

    def log_message(self, *_):
        """Print nothing."""


def test_keys_that_are_missing_or_may_not_read_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with ThreadingHTTPServer(("127.0.0.1", 0), Refuses) as server:
        threading.Thread(target=server.serve_forever).start()
        uri = f"s3://b/data?endpoint_override=127.0.0.1:{server.server_port}&{PLAIN}"
        with pytest.raises(DataError, match="; put keys that may read it into AWS_ACCESS_KEY_ID"):
            local(uri, tmp_path, pytest.fail)
        server.shutdown()


def test_names_that_lead_out_of_the_folder_are_refused(bucket, address, tmp_path):
    boto3 = pytest.importorskip("boto3")  # pyarrow writes no such name
    client = boto3.client("s3", endpoint_url=f"http://{address}", region_name="us-east-1")
    uri, *_ = bucket
    name = uri.removeprefix("s3://").split("/")[0]
    client.put_object(Bucket=name, Key="data/../../evil", Body=b"evil")
    with pytest.raises(DataError, match=r"it cannot be read \(a file is called \.\./\.\./evil\)"):
        local(uri, tmp_path, pytest.fail)
    assert not list(tmp_path.rglob("*evil*"))
