"""The jobs of a bench on a Ray cluster of two machines, one of which is lost."""

import json
import os
import time
from pathlib import Path

import pytest

from hf_finemix import InputError, bench
from hf_finemix.laboratory.executors import Lost

from .test_benching import contents
from .test_jobs import end, end_once, fail, process_and_threads


ray = pytest.importorskip("ray")
cluster_utils = pytest.importorskip("ray.cluster_utils")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster(monkeypatch):
    """Two machines of two cores each, which are processes of this one."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    options = {"num_cpus": 2, "object_store_memory": 80 << 20}
    machines = cluster_utils.Cluster(initialize_head=True, head_node_args=options)
    machines.add_node(**options)
    yield machines
    ray.shutdown()
    machines.shutdown()


@pytest.fixture
def executor(cluster):
    """Makes an executor on the cluster."""
    from hf_finemix.laboratory.cluster import RayCluster

    return lambda **options: RayCluster(cluster.address, **options)


def stay(path: Path) -> str:
    """A job that takes some time, and notes each start."""
    with path.open("a") as file:
        file.write(f"{ray.get_runtime_context().get_node_id()}\n")
    time.sleep(6)
    return path.name


def test_jobs_run_with_their_cores(executor):
    found = list(executor(cpus=2).run((process_and_threads, (number,)) for number in range(4)))
    assert sorted(number for number, *_ in found) == [0, 1, 2, 3]
    assert os.getpid() not in {process for _, process, _ in found} and {threads for *_, threads in found} == {2}


def test_a_process_that_is_killed_is_started_again_or_given_up(executor, tmp_path):
    jobs = [(end_once, (tmp_path / "once",)), (end, (9,)), (process_and_threads, (1,))]
    found = list(executor(retries=1).run(jobs))
    assert [item for item in found if isinstance(item, Lost)] == [Lost((end, (9,)))]
    assert "once" in found and len(found) == 3


def test_an_error_of_the_machine_ends_the_run(executor):
    with pytest.raises(OSError, match="disk 0 is full"):
        list(executor().run([(fail, (0,)), (process_and_threads, (1,))]))


def test_what_no_machine_has_is_refused(executor):
    with pytest.raises(InputError, match="No machine of the cluster has 3 cores"):
        list(executor(cpus=3).run([(process_and_threads, (1,))]))
    with pytest.raises(InputError, match=r"and 0\.5 GPUs"):
        list(executor(gpus=0.5).run([(process_and_threads, (1,))]))


def test_a_machine_that_is_lost_loses_nothing(cluster, executor, tmp_path):
    jobs = [(stay, (tmp_path / str(number),)) for number in range(4)]
    found = executor().run(jobs)
    first = next(node for node in cluster.list_all_nodes() if node is not cluster.head_node)
    import threading

    def cut():
        # When all four are at work, two on each machine.
        while len(list(tmp_path.iterdir())) < 4:
            time.sleep(0.1)
        cluster.remove_node(first, allow_graceful=False)

    thread = threading.Thread(target=cut)
    thread.start()
    assert sorted(found) == ["0", "1", "2", "3"]
    thread.join()
    starts = [path.read_text().split() for path in sorted(tmp_path.iterdir())]
    assert max(map(len, starts)) == 2 and len({node for nodes in starts for node in nodes[-1:]}) == 1


def test_a_bench_gives_the_results_of_one_process(laboratory, executor):
    bench(laboratory.write(), laboratory.output)
    alone = contents(laboratory.output)
    results = bench(laboratory.write(), laboratory.root / "cluster", executor=executor())
    assert not results.failures and contents(laboratory.root / "cluster").keys() == alone.keys()
    pairs = [json.dumps(item, sort_keys=True) for item in (contents(laboratory.root / "cluster"), alone)]
    assert pairs[0] == pairs[1]


def test_a_cluster_that_is_not_there(monkeypatch):
    from hf_finemix.laboratory.cluster import RayCluster

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(InputError, match="Ray cannot reach the cluster"):
        list(RayCluster().run([(process_and_threads, (1,))]))
