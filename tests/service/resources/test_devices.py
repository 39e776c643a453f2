"""The device is found by the driver's files first, so that a machine without a GPU never waits for torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from pruning_service.resources.devices import DeviceError, find_device, is_gpu, may_have_gpu, use_kernels

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="drivers are looked for in /dev")


@linux
def test_machine_without_a_drivers_files_has_no_gpu(tmp_path: Path) -> None:
    assert not may_have_gpu(tmp_path)


@linux
@pytest.mark.parametrize("name", ["nvidiactl", "nvidia0", "dxg", "kfd"])
def test_drivers_file_may_mean_a_gpu(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert may_have_gpu(tmp_path)


def test_cpu_is_always_there() -> None:
    assert find_device("cpu") == "cpu"
    assert not is_gpu("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", "CPU", ""])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DeviceError, match="PRUNING_DEVICE is auto, cpu, cuda or cuda:<number>"):
        find_device(name)


def test_missing_kernels_are_refused() -> None:
    with pytest.raises(DeviceError, match="PRUNING_KERNELS: kernels must be auto, numpy"):
        use_kernels("mmx")


def without_torch(expression: str) -> str:
    """Return what an expression prints in a process in which torch cannot be imported."""
    code = f"import sys; sys.modules['torch'] = None; from pruning_service.resources.devices import *; {expression}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_cuda_without_torch_says_what_to_install() -> None:
    message = without_torch("find_device('cuda')")
    assert "PRUNING_DEVICE is 'cuda', and torch, which computes on GPUs, is not installed" in message
    assert "pip install 'pruning-service[service]'" in message


def test_auto_without_torch_is_the_cpu() -> None:
    assert without_torch("print(find_device('auto'))") == "cpu\n"
