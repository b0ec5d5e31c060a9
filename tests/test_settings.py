"""The number of cores that this process may use."""

import os

import pytest

from src.settings import cpu_count


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A machine of eight cores: a function from the contents of control groups to the cores."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)

    def cores(own, **files):
        (tmp_path / "own").write_text(own)
        for name, text in files.items():
            path = tmp_path / "cgroup" / name.replace("__", "/").replace("DOT", ".").replace("COMMA", ",")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return cpu_count(tmp_path / "cgroup", tmp_path / "own")

    return cores


def test_without_a_limit_the_affinity_counts(groups, tmp_path):
    assert groups("0::/docker/abc\n") == 8
    assert groups("0::/docker/abc\n", docker__abc__cpuDOTmax="max 100000\n") == 8
    assert cpu_count(tmp_path / "nowhere", tmp_path / "nothing") == 8
    assert cpu_count() >= 1  # of this machine


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"docker__abc__cpuDOTmax": "150000 100000\n"}, 2),  # rounded up
        ({"docker__abc__cpuDOTmax": "50000 100000\n"}, 1),
        (
            {"docker__cpuDOTmax": "300000 100000\n", "docker__abc__cpuDOTmax": "max 100000\n"},
            3,
        ),  # of a group around it
        ({"cpuDOTmax": "400000 100000\n"}, 4),  # inside a container its own group is the root
        ({"docker__abc__cpuDOTmax": "1600000 100000\n"}, 8),  # more than there is
        ({"docker__abc__cpuDOTmax": "much\n"}, 8),
        ({"docker__abc__cpuDOTmax": "100000 0\n"}, 8),
    ],
)
def test_a_quota_of_version_2_limits(groups, files, cores):
    assert groups("0::/docker/abc\n", **files) == cores


@pytest.mark.parametrize(("quota", "cores"), [("200000", 2), ("-1", 8), ("", 8)])
def test_a_quota_of_version_1_limits(groups, quota, cores):
    place = "cpuCOMMAcpuacct__kube__x__cpuDOTcfs"
    files = {f"{place}_quota_us": quota, f"{place}_period_us": "100000"}
    assert groups("4:cpu,cpuacct:/kube/x\n3:memory:/kube/x\n", **files) == cores
