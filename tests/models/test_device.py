import pytest
import torch

from models.device import choose_device


def test_auto_is_a_gpu_where_there_is_one():
    assert choose_device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    assert choose_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["tpu", "cuda:", "cuda:x", "cpu:0", ""])
def test_a_name_that_is_no_device_is_refused(name):
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N"):
        choose_device(name)


def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="cuda:99 is not there: this machine has"):
        choose_device("cuda:99")
