import json
from dataclasses import replace

import pytest
import torch

from models.attention.auto import EXACT, AttentionTimes
from models.attention_config import AttentionConfig
from models.config import VouchedAttention
from models.measurement import kept_times
from models.measurement.kept_times import auto_attention, keep_times, measurement_key, read_times

CPU = torch.device("cpu")
TIMES = AttentionTimes((100, 400), {EXACT: (1.25, 20.5), AttentionConfig.tangent(8): (4.0, 16.125)})


@pytest.fixture
def config(tiny_config):
    return replace(tiny_config, vouched=(VouchedAttention("tangent:C=8", 0.001, 0.1),))


@pytest.fixture
def key(config):
    return measurement_key(config, CPU, torch.float32)


@pytest.fixture
def measurements(monkeypatch):
    """Have `TIMES` measured; return the list of what was measured."""
    asked = []
    monkeypatch.setattr(kept_times, "measure_attention_times", lambda *what: asked.append(what) or (TIMES, True))
    return asked


def test_times_are_read_as_they_were_written(tmp_path, key):
    keep_times(tmp_path / "new" / "times.json", key, TIMES)
    assert read_times(tmp_path / "new" / "times.json", key) == TIMES


def test_the_second_start_measures_nothing_and_chooses_the_same(tmp_path, config, measurements):
    first = auto_attention(config, CPU, torch.float32, tmp_path)
    second = auto_attention(config, CPU, torch.float32, tmp_path)
    assert len(measurements) == 1
    assert first == second
    assert [path.suffix for path in tmp_path.iterdir()] == [".json"]


def test_by_default_times_are_kept_in_the_users_cache(tmp_path, monkeypatch, config, measurements):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    auto_attention(config, CPU, torch.float32)
    assert len(list((tmp_path / "act-detr").iterdir())) == len(measurements) == 1


def test_another_dtype_or_number_of_threads_or_model_shape_is_measured(tmp_path, config, measurements):
    auto_attention(config, CPU, torch.float32, tmp_path)
    auto_attention(config, CPU, torch.bfloat16, tmp_path)
    auto_attention(replace(config, encoder_layers=3), CPU, torch.float32, tmp_path)
    auto_attention(replace(config, vouched=(VouchedAttention("tangent:C=8", 0.0, 0.2),)), CPU, torch.float32, tmp_path)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(threads + 1)
        auto_attention(config, CPU, torch.float32, tmp_path)
    finally:
        torch.set_num_threads(threads)
    assert len(measurements) == len(list(tmp_path.iterdir())) == 5


def test_times_whose_repeats_disagree_serve_once_and_are_not_kept(tmp_path, monkeypatch, config):
    spoilt = AttentionTimes((100, 400), {EXACT: (1.25, 20.5), AttentionConfig.tangent(8): (4.0, 37 * 16.125)})
    measured = iter([(spoilt, False), (TIMES, True)])
    monkeypatch.setattr(kept_times, "measure_attention_times", lambda *what: next(measured))
    assert auto_attention(config, CPU, torch.float32, tmp_path).times == spoilt
    assert list(tmp_path.iterdir()) == []
    assert auto_attention(config, CPU, torch.float32, tmp_path).times == TIMES
    assert auto_attention(config, CPU, torch.float32, tmp_path).times == TIMES


def spoilt(text, how):
    document = json.loads(text)
    if how == "other key":
        document["key"]["torch"] = "1.0"
    elif how == "no exact":
        del document["milliseconds"]["exact"]
    elif how == "not vouched":
        del document["milliseconds"]["tangent:C=8"]
    elif how == "no time":
        document["milliseconds"]["exact"][0] = None
    elif how == "negative":
        document["milliseconds"]["exact"][0] = -1.0
    elif how == "short":
        document["tokens"].pop()
    elif how == "unknown mode":
        document["milliseconds"]["window"] = [1.0, 2.0]
    return json.dumps(document)


SPOILT = ("other key", "no exact", "not vouched", "no time", "negative", "short", "unknown mode")


@pytest.mark.parametrize("how", SPOILT)
def test_a_foreign_file_is_measured_again_and_written_over(tmp_path, config, measurements, how):
    auto_attention(config, CPU, torch.float32, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_text()
    file.write_text(spoilt(whole, how))
    assert auto_attention(config, CPU, torch.float32, tmp_path).times == TIMES
    assert len(measurements) == 2
    assert file.read_text() == whole


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"key": 1}', b"[" * 100_000])
def test_a_broken_file_is_measured_again(tmp_path, config, measurements, content):
    auto_attention(config, CPU, torch.float32, tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    auto_attention(config, CPU, torch.float32, tmp_path)
    assert len(measurements) == 2


def test_a_folder_that_cannot_be_written_to_is_no_error(tmp_path, config, measurements):
    blocked = tmp_path / "file"
    blocked.write_text("this is no folder")
    auto = auto_attention(config, CPU, torch.float32, blocked / "cache")
    assert auto.times == TIMES
    assert len(measurements) == 1
    assert blocked.read_text() == "this is no folder"


def test_a_user_without_a_home_is_no_error(monkeypatch, config, measurements):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(kept_times, "default_cache_dir", homeless)
    assert auto_attention(config, CPU, torch.float32).times == TIMES
    assert len(measurements) == 1


def test_nothing_is_measured_or_written_where_nothing_is_vouched_for(tmp_path, tiny_config, measurements):
    auto = auto_attention(tiny_config, CPU, torch.float32, tmp_path)
    assert (auto.vouched, auto.times, measurements, list(tmp_path.iterdir())) == ((), None, [], [])
