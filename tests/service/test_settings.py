from __future__ import annotations

from pathlib import Path

import pytest

from service.settings import PREFIX, BadSettings, Settings, load_settings, markdown_table, unknown_variables

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)


def test_environment_sets_and_overrides_win(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACT_DETR_PORT", "9000")
    monkeypatch.setenv("ACT_DETR_MAX_BATCH", "3")
    monkeypatch.setenv("ACT_DETR_LOG_LEVEL", "WARNING")
    settings = load_settings(port=0, host=None)
    assert (settings.port, settings.max_batch, settings.log_level) == (0, 3, "warning")
    assert settings.host == "127.0.0.1"


def test_empty_variable_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACT_DETR_MAX_DELAY_MS", "")
    assert load_settings().max_delay_ms is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "65536"),
        ("PORT", "http"),
        ("L", "0"),
        ("L", "65"),
        ("R", "0"),
        ("R", "nan"),
        ("R", "inf"),
        ("THRESHOLD", "1.01"),
        ("ATTENTION", "kmeans"),
        ("DEVICE", "tpu"),
        ("MAX_PIXELS", "900000000"),
        ("DEADLINE_MS", "0"),
        ("MAX_QUEUE", "0"),
        ("LOG_FORMAT", "xml"),
        ("TARGET_MS", "0"),
        ("TARGET_MS", "inf"),
        ("CORS_ORIGINS", "example.org"),
        ("CORS_ORIGINS", "https://example.org/path"),
        ("CORS_ORIGINS", "null"),
        ("ANSWER_TIMEOUT_S", "0"),
        ("MAX_CONNECTIONS", "0"),
        ("KEEPALIVE_TIMEOUT_S", "0"),
        ("EXPLAIN", "perhaps"),
        ("ROOT_PATH", "vision"),
        ("ROOT_PATH", "/a b"),
        ("ROOT_PATH", "/a//b"),
        ("ROOT_PATH", "/../b"),
        ("ROOT_PATH", "https://example.org/vision"),
    ],
)
def test_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(PREFIX + name, value)
    with pytest.raises(BadSettings, match=rf"^{PREFIX}{name}: .*{value}"):
        load_settings()


def test_every_bad_value_has_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACT_DETR_PORT", "tcp://10.0.0.1:80")
    monkeypatch.setenv("ACT_DETR_MAX_BATCH", "0")
    with pytest.raises(BadSettings) as error:
        load_settings()
    assert len(str(error.value).splitlines()) == 2
    assert "enableServiceLinks" in str(error.value)


def test_a_batch_limit_below_the_image_limit_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadSettings, match="one image would not fit"):
        load_settings(max_bytes=100, max_batch_bytes=99)


def test_api_keys_are_split_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACT_DETR_API_KEY", " k3y , new,")
    settings = load_settings()
    assert settings.api_keys == ("k3y", "new")
    assert "k3y" not in repr(settings)


@pytest.mark.parametrize("keys", [",", "sec ret", "clé-secrète"])
def test_keys_that_cannot_be_sent_are_refused_without_showing_them(monkeypatch: pytest.MonkeyPatch, keys: str) -> None:
    monkeypatch.setenv("ACT_DETR_API_KEY", keys)
    with pytest.raises(BadSettings) as error:
        load_settings()
    assert keys == "," or keys not in str(error.value)


@pytest.mark.parametrize(
    ("device", "given", "seconds"), [("cpu", None, 0), ("cuda:0", None, 0.005), ("cuda", 0.0, 0), ("cpu", 8.0, 0.008)]
)
def test_batching_window_depends_on_the_device(device: str, given: float | None, seconds: float) -> None:
    assert load_settings(max_delay_ms=given).delay_seconds(device) == seconds


def test_a_root_path_loses_its_trailing_slash() -> None:
    assert [load_settings(root_path=path).root_path for path in ("", "/", "/a/b", "/a/")] == ["", "", "/a/b", "/a"]


def test_origins_are_split() -> None:
    origins = "https://example.org, http://localhost:3000,http://[::1]:3000"
    expected = ("https://example.org", "http://localhost:3000", "http://[::1]:3000")
    assert load_settings(cors_origins=origins).allowed_origins == expected
    assert load_settings(cors_origins="*").allowed_origins == ("*",)
    assert load_settings().allowed_origins == ()


def test_unknown_variables_are_found() -> None:
    assert unknown_variables({"ACT_DETR_PROT": "1", "ACT_DETR_PORT": "1", "PATH": "x"}) == ["ACT_DETR_PROT"]


def test_table_has_a_described_row_for_every_setting() -> None:
    rows = markdown_table().splitlines()[2:]
    assert len(rows) == len(Settings.model_fields)
    assert all(row.count("|") == 5 and not row.endswith("|  |") for row in rows)


def test_the_documented_table_is_the_generated_one() -> None:
    table = DOCUMENT.read_text(encoding="utf-8").split("<!-- settings -->")[1].split("<!-- /settings -->")[0]
    assert table.strip() == markdown_table().strip(), "run: python -m service.settings"
