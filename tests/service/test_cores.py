import os
from pathlib import Path

import pytest

from service.cores import available_cores

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("100000 100000", 1), ("20000 100000", 1), ("99900000 100000", CORES), ("max 100000", CORES), ("nonsense", CORES)],
)
def test_a_quota_limits_the_cores(quota: str, cores: int, tmp_path: Path) -> None:
    file = tmp_path / "cpu.max"
    file.write_text(quota + "\n")
    assert available_cores(file) == cores


def test_without_a_cgroup_the_affinity_counts(tmp_path: Path) -> None:
    assert available_cores(tmp_path / "cpu.max") == CORES
