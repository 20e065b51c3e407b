"""Settings around calls."""

from __future__ import annotations

import asyncio
import threading

import pytest
import torch

from models.attention_config import AttentionConfig
from models.plugged import attention_settings
from models.plugged.settings import settings_here

OWN = AttentionConfig.tangent(C=16, rounds=2)


def test_without_settings_a_module_has_its_own() -> None:
    assert settings_here(OWN) == (OWN, None)


def test_settings_replace_all_of_a_modules_own_and_options_some() -> None:
    with attention_settings("act:L=8,r=2") as run:
        assert settings_here(OWN) == (AttentionConfig.act(L=8, r=2.0), run)
    with attention_settings(AttentionConfig.exact()):
        assert settings_here(OWN)[0] == AttentionConfig.exact()
    with attention_settings(C=8, metric="query"):
        assert settings_here(OWN)[0] == AttentionConfig.tangent(C=8, rounds=2, metric="query")
    with attention_settings():
        assert settings_here(OWN)[0] == OWN


def test_the_inner_settings_count_and_end_with_their_with() -> None:
    with attention_settings(C=8) as outer:
        with attention_settings("kmeans:C=4") as inner:
            assert settings_here(OWN) == (AttentionConfig.kmeans(C=4), inner)
        assert settings_here(OWN) == (AttentionConfig.tangent(C=8, rounds=2), outer)
        with pytest.raises(RuntimeError, match="an error"), attention_settings("exact"):
            raise RuntimeError("an error")
        assert settings_here(OWN)[1] is outer
    assert settings_here(OWN) == (OWN, None)


def test_settings_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="mode must be one of exact, act"), attention_settings("wave"):
        pass
    with pytest.raises(ValueError, match="'clusters' is not an option of attention; the options: C, L"):
        attention_settings(clusters=3).__enter__()
    with pytest.raises(ValueError, match="either settings or options"):
        attention_settings("act", C=3).__enter__()
    with pytest.raises(ValueError, match="merges the tokens of a whole encoder"), attention_settings("merge"):
        pass
    with attention_settings(L=8), pytest.raises(ValueError, match="'L' is not an option of tangent; its options: C"):
        settings_here(OWN)
    with attention_settings(C=0), pytest.raises(ValueError, match="C must be between"):
        settings_here(OWN)


def test_threads_and_tasks_do_not_see_each_others() -> None:
    seen = []
    with attention_settings(C=8):
        thread = threading.Thread(target=lambda: seen.append(settings_here(OWN)[0]))
        thread.start()
        thread.join()
    assert seen == [OWN]

    async def attend(C: int) -> AttentionConfig:
        with attention_settings(C=C):
            await asyncio.sleep(0)
            return settings_here(OWN)[0]

    async def attend_both() -> list[AttentionConfig]:
        return await asyncio.gather(attend(2), attend(3))

    assert [one.C for one in asyncio.run(attend_both())] == [2, 3]


def test_a_run_keeps_counts_in_order_and_tokens_of_the_last_layer() -> None:
    with attention_settings() as run:
        run.record(torch.tensor([[1, 2]]), [5])
        run.record(None, [6])
        run.record(torch.tensor([[3, 4]]), [7])
    assert [counts.tolist() for counts in run.cluster_counts] == [[[1, 2]], [[3, 4]]]
    assert run.tokens == [7]
