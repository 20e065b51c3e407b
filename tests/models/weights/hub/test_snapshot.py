"""Snapshots from a hub on real sockets, asked for by processes of their own."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

MODEL = "somebody/pages-detr"
CONFIG = json.dumps(
    {
        "model_type": "detr",
        "architectures": ["DetrForObjectDetection"],
        "use_timm_backbone": False,
        "backbone_config": {
            "model_type": "resnet",
            "layer_type": "basic",
            "embedding_size": 8,
            "hidden_sizes": [8, 16],
            "depths": [1, 1],
            "out_features": ["stage2"],
        },
        "d_model": 32,
        "id2label": {"0": "a", "1": "b"},
    }
).encode()
IMAGES = json.dumps({"size": {"shortest_edge": 96, "longest_edge": 133}}).encode()
WEIGHTS = random.Random(0).randbytes(1_000_000)
OTHER = random.Random(1).randbytes(1_000_000)
FILES = {"config.json": CONFIG, "preprocessor_config.json": IMAGES, "model.safetensors": WEIGHTS}
UNWANTED = {"README.md": b"# A model", "tf_model.h5": OTHER, "pytorch_model.bin": OTHER, "training_args.bin": OTHER}


def read(folder: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def test_what_a_model_consists_of_is_downloaded_and_nothing_else(hub: Any, user: Any) -> None:
    commit = hub.add(MODEL, FILES | UNWANTED)
    done = user("snapshot", MODEL)
    assert Path(done["folder"]).name == commit
    assert Path(done["folder"]).is_relative_to(user.home / "hub")
    assert read(done["folder"]) == FILES
    assert done["progress"][0] == [0, len(WEIGHTS)]
    assert done["progress"][-1] == [len(WEIGHTS), len(WEIGHTS)]
    assert done["progress"] == sorted(done["progress"])
    assert f"INFO {MODEL} is at commit {commit}" in done["log"]
    assert f"INFO downloading {MODEL} at commit {commit}: model.safetensors, 1.0 MB" in done["log"]


def test_what_is_there_is_not_downloaded_again(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    first = user("snapshot", MODEL)
    hub.asked.clear()
    second = user("snapshot", MODEL)
    assert second["folder"] == first["folder"]
    assert second["progress"] == []
    assert [one.path.partition("?")[0] for one in hub.asked] == [f"/api/models/{MODEL}/revision/main"]


def test_a_commit_that_is_there_needs_no_hub(hub: Any, user: Any) -> None:
    commit = hub.add(MODEL, FILES)
    first = user("snapshot", f"{MODEL}@{commit}")
    hub.asked.clear()
    assert user("snapshot", f"{MODEL}@{commit}")["folder"] == first["folder"]
    assert hub.asked == []


def test_a_commit_of_which_another_program_took_only_the_weights_is_completed(hub: Any, user: Any) -> None:
    commit = hub.add(MODEL, FILES)
    folder = user("snapshot", f"{MODEL}@{commit}")["folder"]
    (Path(folder) / "preprocessor_config.json").unlink()
    assert read(user("snapshot", f"{MODEL}@{commit}")["folder"]) == FILES
    assert hub.large_downloads() == [None]


def test_branches_tags_and_pull_requests_are_revisions(hub: Any, user: Any) -> None:
    for number, revision in enumerate(("main", "v1.0", "no_timm", "refs/pr/3")):
        hub.add(MODEL, FILES | {"model.safetensors": WEIGHTS + bytes([number])}, ref=revision)
    for number, revision in enumerate(("main", "v1.0", "no_timm", "refs/pr/3")):
        folder = user("snapshot", f"{MODEL}@{revision}")["folder"]
        assert read(folder)["model.safetensors"][-1] == number
        assert Path(folder).name == hub.repositories[MODEL].refs[revision]


def test_a_branch_that_moved_on_is_followed_and_its_equal_files_are_kept(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    user("snapshot", MODEL)
    moved = hub.add(MODEL, FILES | {"config.json": CONFIG + b" "})
    done = user("snapshot", MODEL)
    assert Path(done["folder"]).name == moved
    assert read(done["folder"])["config.json"] == CONFIG + b" "
    assert hub.large_downloads() == [None]
    assert Path(user("snapshot", MODEL, environment={"HF_HUB_OFFLINE": "1"})["folder"]).name == moved


def test_shards_are_downloaded_by_their_index(hub: Any, user: Any) -> None:
    index = {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    shards = {"model-1-of-2.safetensors": WEIGHTS, "model-2-of-2.safetensors": OTHER}
    files = {"config.json": CONFIG, "model.safetensors.index.json": json.dumps(index).encode()} | shards
    hub.add(MODEL, files | {"model-3-of-2.safetensors": OTHER})
    done = user("snapshot", MODEL)
    assert read(done["folder"]) == files
    assert done["progress"][0] == [0, 2_000_000]
    assert done["progress"][-1] == [2_000_000, 2_000_000]
    assert done["progress"] == sorted(done["progress"])


@pytest.mark.parametrize(
    ("shard", "error"),
    [("../../config.json", "CorruptCheckpoint"), ("model-2-of-2.safetensors", "CorruptCheckpoint")],
    ids=["outside", "missing"],
)
def test_an_index_that_names_what_is_not_there_is_refused(hub: Any, user: Any, shard: str, error: str) -> None:
    index = json.dumps({"weight_map": {"a": shard}}).encode()
    hub.add(MODEL, {"config.json": CONFIG, "model.safetensors.index.json": index})
    done = user("snapshot", MODEL)
    assert done["error"] == error
    assert shard in done["message"]


def test_a_pickle_is_taken_where_there_are_no_safetensors(hub: Any, user: Any) -> None:
    hub.add(MODEL, {"config.json": CONFIG, "pytorch_model.bin": WEIGHTS})
    assert read(user("snapshot", MODEL)["folder"]).keys() == {"config.json", "pytorch_model.bin"}


def test_a_model_that_cannot_be_loaded_is_refused_before_its_weights_come(hub: Any, user: Any) -> None:
    config = json.loads(CONFIG) | {"model_type": "yolos"}
    hub.add(MODEL, FILES | {"config.json": json.dumps(config).encode()})
    done = user("snapshot", MODEL)
    assert done["error"] == "UnsupportedModel"
    assert "yolos" in done["message"]
    assert hub.large_downloads() == []


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"config.json": CONFIG, "tf_model.h5": OTHER}, "has no weights: neither model.safetensors nor pytorch_model"),
        ({"model.safetensors": WEIGHTS}, "has no config.json; it has model.safetensors"),
        ({}, "it has no files"),
    ],
)
def test_a_repository_without_a_model_says_what_it_has(
    hub: Any, user: Any, files: dict[str, bytes], message: str
) -> None:
    hub.add(MODEL, files)
    done = user("snapshot", MODEL)
    assert done["error"] == "UnsupportedModel"
    assert message in done["message"]
    assert hub.large_downloads() == []


def test_a_download_that_is_cut_off_goes_on_from_there(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    hub.cuts = [300_000]
    done = user("snapshot", MODEL, chunk=100_000, delays=[0])
    assert read(done["folder"])["model.safetensors"] == WEIGHTS
    assert hub.large_downloads() == [None, "bytes=300000-"]
    assert [0, len(WEIGHTS)] in done["progress"]
    assert done["progress"][-1] == [len(WEIGHTS), len(WEIGHTS)]


def test_a_connection_that_is_reset_is_tried_again(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    hub.cuts, hub.resets = [300_000], True
    done = user("snapshot", MODEL, chunk=100_000, delays=[0])
    assert read(done["folder"])["model.safetensors"] == WEIGHTS
    assert len(hub.large_downloads()) == 2
    assert done["progress"][-1] == [len(WEIGHTS), len(WEIGHTS)]


def test_a_download_that_is_always_cut_off_says_so(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    hub.cuts = [0] * 20
    done = user("snapshot", MODEL)
    assert done["error"] == "TruncatedDownload"
    assert f"the download of {MODEL} from {hub.endpoint} was cut off" in done["message"]
    hub.cuts = []
    assert read(user("snapshot", MODEL)["folder"]) == FILES


def test_bytes_of_another_file_are_refused_and_not_kept(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    hub.lies = {"model.safetensors": OTHER}
    done = user("snapshot", MODEL)
    assert done["error"] == "TamperedDownload"
    for digest in (hashlib.sha256(WEIGHTS).hexdigest(), hashlib.sha256(OTHER).hexdigest()):
        assert digest in done["message"]
    assert "model.safetensors" not in user.files()
    assert not any(path.stat().st_size > 10_000 for path in user.contents())
    hub.lies = {}
    assert read(user("snapshot", MODEL)["folder"]) == FILES


def test_a_small_file_with_other_bytes_is_refused_too(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    hub.lies = {"config.json": CONFIG.replace(b"32", b"64")}
    done = user("snapshot", MODEL)
    assert done["error"] == "TamperedDownload"
    assert "config.json" in done["message"]
    assert hub.large_downloads() == []


@pytest.mark.parametrize("sent", [WEIGHTS + b"more", WEIGHTS[:-4]], ids=["longer", "shorter"])
def test_a_file_of_another_length_is_refused_and_not_kept(hub: Any, user: Any, sent: bytes) -> None:
    hub.add(MODEL, FILES)
    hub.lies = {"model.safetensors": sent}
    done = user("snapshot", MODEL)
    assert done["error"] in ("DownloadFailed", "TamperedDownload")
    assert str(len(sent)) in done["message"]
    assert "model.safetensors" not in user.files()


def test_a_file_that_was_damaged_in_the_cache_is_downloaded_again(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    weights = Path(user("snapshot", MODEL)["folder"]) / "model.safetensors"
    weights.write_bytes(OTHER)
    done = user("snapshot", MODEL)
    assert read(done["folder"]) == FILES
    assert any("is damaged" in line and str(weights) in line for line in done["log"])
    assert hub.large_downloads() == [None, None]


def test_a_damaged_file_is_not_loaded_offline(hub: Any, user: Any) -> None:
    commit = hub.add(MODEL, FILES)
    weights = Path(user("snapshot", MODEL)["folder"]) / "model.safetensors"
    weights.write_bytes(OTHER)
    for name in (MODEL, f"{MODEL}@{commit}"):
        assert user("snapshot", name, environment={"HF_HUB_OFFLINE": "1"})["error"] == "Offline"
    assert not weights.exists()


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_only_the_cache_is_asked(hub: Any, user: Any, variable: str) -> None:
    hub.add(MODEL, FILES)
    offline = {variable: "1"}
    done = user("snapshot", MODEL, environment=offline)
    assert done["error"] == "Offline"
    assert f"{MODEL} is not in the hub's cache, and HF_HUB_OFFLINE is set" in done["message"]
    folder = user("snapshot", MODEL)["folder"]
    hub.asked.clear()
    assert user("snapshot", MODEL, environment=offline)["folder"] == folder
    assert hub.asked == []


def test_without_a_network_the_cache_is_taken_with_a_warning(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    folder = user("snapshot", MODEL)["folder"]
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: whoever connects is refused
        gone = {"HF_ENDPOINT": f"http://127.0.0.1:{unused.getsockname()[1]}"}
        done = user("snapshot", MODEL, environment=gone)
        assert done["folder"] == folder
        assert any("cannot be reached" in line and "downloaded before is taken" in line for line in done["log"])
        done = user("snapshot", "somebody/else", environment=gone)
    assert done["error"] == "Offline"
    assert "cannot be reached" in done["message"]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_hub_that_fails_is_asked_again_and_then_named(hub: Any, user: Any, status: int) -> None:
    hub.add(MODEL, FILES)
    hub.statuses = [status] * 2
    done = user("snapshot", MODEL, delays=[0])
    assert done["error"] == "DownloadFailed"
    assert f"{hub.endpoint} answered {status} for {MODEL}" in done["message"]
    assert len(hub.asked) == 2
    hub.statuses = [status]
    assert read(user("snapshot", MODEL, delays=[0])["folder"]) == FILES
    hub.statuses = [status]
    hub.asked.clear()
    done = user("snapshot", MODEL, delays=[60])  # what is in the cache is taken without waiting
    assert f"answered {status}" in done["log"][0]
    assert len(hub.asked) == 1


def test_an_unknown_repository_is_named(hub: Any, user: Any) -> None:
    done = user("snapshot", MODEL, delays=[60])
    assert done["error"] == "UnknownModel"
    assert f"{hub.endpoint} has no model {MODEL}" in done["message"]
    assert "no file or folder" in done["message"]
    assert "HF_TOKEN" in done["message"]


def test_an_unknown_revision_is_named(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    done = user("snapshot", f"{MODEL}@v9")
    assert done["error"] == "UnknownModel"
    assert "no revision 'v9'" in done["message"]


def test_a_gated_repository_wants_a_token(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES, gated=True)
    done = user("snapshot", MODEL)
    assert done["error"] == "AccessDenied"
    assert "is gated" in done["message"]
    assert "HF_TOKEN" in done["message"]
    assert read(user("snapshot", MODEL, environment={"HF_TOKEN": "hf_secret"})["folder"]) == FILES


def test_a_private_repository_is_read_by_token_which_the_storage_never_sees(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES, private=True)
    assert user("snapshot", MODEL)["error"] == "UnknownModel"
    assert user("snapshot", MODEL, environment={"HF_TOKEN": "hf_wrong"})["error"] == "UnknownModel"
    hub.asked.clear()
    assert read(user("snapshot", MODEL, environment={"HF_TOKEN": "hf_secret"})["folder"]) == FILES
    sent = {(one.host, one.headers.get("authorization")) for one in hub.asked}
    assert sent == {("hub", "Bearer hf_secret"), ("storage", None)}


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_of_another_kind_speaks_of_the_token(hub: Any, user: Any, status: int) -> None:
    hub.add(MODEL, FILES)
    hub.statuses = [status]
    done = user("snapshot", MODEL)
    assert done["error"] == "AccessDenied"
    assert f"status {status}" in done["message"]
    assert "HF_TOKEN" in done["message"]


def test_a_mirror_under_a_path_is_asked_for_everything(hub: Any, user: Any) -> None:
    hub.prefix = "/mirrors/hf"
    hub.add(MODEL, FILES)
    user.environment["HF_ENDPOINT"] = hub.endpoint + "/"
    assert read(user("snapshot", MODEL)["folder"]) == FILES
    assert all(one.path.startswith("/mirrors/hf/") for one in hub.asked)


def test_a_server_that_is_no_hub_is_named(hub: Any, user: Any) -> None:
    hub.prefix = "/somewhere"
    hub.add(MODEL, FILES)
    user.environment["HF_ENDPOINT"] = hub.address
    done = user("snapshot", MODEL)
    assert done["error"] == "UnknownModel"
    assert hub.address in done["message"]


@pytest.mark.parametrize("card", [b"<html>", b"[]", b'"hub"', b"{}", b'{"id": "a/b"}', b'{"id": "a/b", "siblings": 1}'])
def test_an_answer_that_no_hub_would_give_is_an_error_that_names_the_server(hub: Any, user: Any, card: bytes) -> None:
    hub.add(MODEL, FILES)
    hub.card = card
    done = user("snapshot", MODEL)
    assert done["error"] == "DownloadFailed"
    assert hub.endpoint in done["message"]
    assert MODEL in done["message"]


def test_a_file_of_another_commit_is_refused(hub: Any, user: Any) -> None:
    commit = hub.add(MODEL, FILES)
    hub.claimed = "0" * 40
    done = user("snapshot", MODEL)
    assert done["error"] == "TamperedDownload"
    assert f"it is of commit {hub.claimed} instead of {commit}" in done["message"]
    assert "config.json" not in user.files()


def test_two_processes_that_start_at_once_share_a_download(
    hub: Any, user: Any, wait_until: Callable[..., None]
) -> None:
    hub.add(MODEL, FILES)
    hub.released.clear()
    with ThreadPoolExecutor(1) as pool:
        both = pool.submit(user.at_once, *[user.job("snapshot", MODEL)] * 2)
        # The weights are held back until both processes have asked where they are.
        wait_until(lambda: len([one for one in hub.asked if one.method == "HEAD" and "safetensors" in one.path]) == 2)
        hub.released.set()
        first, second = both.result()
    assert first["folder"] == second["folder"]
    assert read(first["folder"]) == FILES
    assert hub.large_downloads() == [None]


def test_a_file_larger_than_the_disk_is_refused_before_it_is_asked_for(hub: Any, user: Any) -> None:
    hub.add(MODEL, FILES)
    hub.announced = 1 << 60
    done = user("snapshot", MODEL)
    assert done["error"] == "NoDiskSpace"
    assert str(user.home) in done["message"]
    assert "MB are needed" in done["message"]
    assert hub.large_downloads() == []


def test_a_cache_that_cannot_be_is_named(hub: Any, user: Any, tmp_path: Path) -> None:
    hub.add(MODEL, FILES)
    (tmp_path / "file").touch()
    done = user("snapshot", MODEL, environment={"HF_HOME": str(tmp_path / "file" / "home")})
    assert done["error"] == "DownloadFailed"
    assert str(tmp_path / "file") in done["message"]


class RunsCode:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch ran",)


def test_a_pickle_that_would_run_code_is_refused(hub: Any, user: Any, tmp_path: Path) -> None:
    pickled = pickle.dumps({"weights": RunsCode()})
    hub.add(MODEL, {"config.json": CONFIG, "preprocessor_config.json": IMAGES, "pytorch_model.bin": pickled})
    done = user("resolve", MODEL)
    assert done["error"] == "UnsafeCheckpoint"
    assert not Path("ran").exists()


def test_detectors_in_the_cache_are_listed(hub: Any, user: Any) -> None:
    assert user("kept")["kept"] == []
    commit = hub.add(MODEL, FILES)
    tagged = hub.add(MODEL, FILES | {"model.safetensors": OTHER}, ref="v1.0")
    hub.add("another/detr", FILES)
    hub.add("no/detector", FILES)
    folders = [user("snapshot", name)["folder"] for name in (f"{MODEL}@v1.0", MODEL, "another/detr", "no/detector")]
    config = Path(folders[3]) / "config.json"
    config.write_text(json.dumps({"architectures": ["BertModel"]}))
    size = sum(map(len, FILES.values()))
    expected = [("another/detr", folders[2]), (MODEL, folders[1]), (f"{MODEL}@v1.0", folders[0])]
    assert user("kept")["kept"] == [[name, folder, size] for name, folder in expected]
    assert [Path(folder).name for folder in folders[:2]] == [tagged, commit]
    (Path(folders[0]) / "model.safetensors").unlink()
    assert [name for name, *_ in user("kept")["kept"]] == ["another/detr", MODEL]


def test_a_cache_of_another_program_is_read(hub: Any, user: Any, tmp_path: Path) -> None:
    hub.add(MODEL, FILES)
    elsewhere = {"HF_HUB_CACHE": str(tmp_path / "elsewhere")}
    folder = user("snapshot", MODEL, environment=elsewhere)["folder"]
    assert Path(folder).is_relative_to(tmp_path / "elsewhere")
    assert [name for name, *_ in user("kept", environment=elsewhere)["kept"]] == [MODEL]


def test_an_embedded_model_does_not_import_the_hub(user: Any) -> None:
    assert user("embedded", "pages-small")["imported"] == []


def test_fetch_takes_repositories_and_published_names(hub: Any, user: Any) -> None:
    commit = hub.add(MODEL, FILES)
    assert Path(user("fetch", f"{MODEL}@main")["folder"]).name == commit
    done = user("fetch", "yolo")
    assert done["error"] == "UnknownModel"
    assert "org/name@revision" in done["message"]
