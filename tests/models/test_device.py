import pytest
import torch

from models.device import choose_device, on_device, on_host

GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


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


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, GPU])])
def test_numbers_go_to_a_device_and_results_come_back(device):
    x = on_device([1.5, 2.0], torch.device(device))
    y = on_device(torch.arange(3), torch.device(device))
    assert x.device.type == y.device.type == device
    first, second = on_host(x + 1, y * 2)
    assert first.tolist() == [2.5, 3.0]
    assert second.tolist() == [0, 2, 4]
