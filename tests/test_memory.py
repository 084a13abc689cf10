"""What memory is left, and that a model which does not fit is refused before it is read."""

import subprocess
import sys

import pytest
from safetensors import safe_open

from hf_finemix import InputError, memory
from hf_finemix.loading import resolve_checkpoint
from hf_finemix.memory import available_memory, check_memory
from hf_finemix.model_loading import load_classifier


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Files like those of the system, with 8 GB left on the machine and no further limit."""
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\nHugePages_Total: 0\n")
    monkeypatch.setattr(memory, "_MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_GROUP", tmp_path)
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "cgroup")
    (tmp_path / "cgroup").write_text("12:cpu,cpuacct:/x\n0::/\n")
    monkeypatch.setattr(memory, "_of_process", lambda: None)
    return tmp_path


def test_the_least_of_all_limits_counts(system, monkeypatch):
    assert available_memory() == 8_192_000_000
    (system / "memory.max").write_text("max\n")
    assert available_memory() == 8_192_000_000
    (system / "memory.max").write_text("5000\n")
    (system / "memory.current").write_text("4000\n")
    (system / "memory.stat").write_text("anon 1000\ninactive_file 2000\nactive_file 500\n")
    assert available_memory() == 3500
    # The group of this process is inside of another one.
    (system / "job" / "step").mkdir(parents=True)
    (system / "cgroup").write_text("0::/job/step\n")
    for name, limit in (("job", "2000"), ("job/step", "max")):
        (system / name / "memory.max").write_text(limit)
        (system / name / "memory.current").write_text("900")
        (system / name / "memory.stat").write_text("anon 900\n")
    assert available_memory() == 1100
    # The first version of control groups.
    (system / "memory" / "docker").mkdir(parents=True)
    (system / "cgroup").write_text("7:memory:/docker\n")
    (system / "memory" / "docker" / "memory.limit_in_bytes").write_text("9000")
    (system / "memory" / "docker" / "memory.usage_in_bytes").write_text("8000")
    (system / "memory" / "docker" / "memory.stat").write_text("total_inactive_file 30\ntotal_active_file 4\n")
    assert available_memory() == 1034
    monkeypatch.setattr(memory, "_of_process", lambda: 7)
    assert available_memory() == 7
    (system / "meminfo").unlink()
    monkeypatch.setattr(memory, "_of_process", lambda: -7)
    assert available_memory() == 0


def test_a_system_that_does_not_tell_refuses_nothing(system):
    (system / "meminfo").unlink()
    assert available_memory() is None
    check_memory(10**18, "SUSPECT")


def test_a_model_that_does_not_fit_is_refused_before_it_is_read(workplace, monkeypatch):
    found = resolve_checkpoint(workplace.suspect, "SUSPECT")
    with safe_open(workplace.suspect / "model.safetensors", framework="pt") as file:
        size = sum(file.get_tensor(name).nbytes for name in file.keys())  # noqa: SIM118
    monkeypatch.setattr(memory, "available_memory", lambda: size)
    load_classifier(found, "SUSPECT")
    monkeypatch.setattr(memory, "available_memory", lambda: size - 1)
    with pytest.raises(InputError, match=r"needs 0\.0 GB of memory, but 0\.0 GB are left; `hf-finemix mix`"):
        load_classifier(found, "SUSPECT")


def test_the_limit_of_a_process_is_seen():
    program = (
        "import resource; from hf_finemix.memory import _of_process; assert _of_process() is None; "
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 33, 1 << 33)); print(_of_process())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    # A part of the 8 GB is in use.
    assert 1 << 31 < int(done.stdout) < 1 << 33
