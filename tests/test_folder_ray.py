"""Folder analysis on a real local Ray cluster of two workers."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from fakes import fake_analyzer, red_face
from PIL import Image

from fer.__main__ import main
from fer.folders.records import AnalyzerRecipe

REPOSITORY = Path(__file__).resolve().parent.parent


def shell(*words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0", **environment},
    )


CLUSTER = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""


@pytest.fixture
def cluster():
    """The address of a head node with two cores, gone afterwards."""
    pytest.importorskip("ray")
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CLUSTER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    ) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()
        process.wait(60)


@pytest.mark.golden
@pytest.mark.slow
def test_the_same_table_comes_out(astronaut, tmp_path, cluster):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(30):
        Image.fromarray(astronaut[: 300 + 5 * number]).save(folder / f"{number:02}.png")
    (folder / "07.png").write_bytes(b"broken")
    one, many = tmp_path / "one.parquet", tmp_path / "many.parquet"
    assert shell("-m", "fer", str(folder), "--parquet", str(one)).returncode == 1
    words = ("-m", "fer", str(folder), "--parquet", str(many), "--engine", "ray", "--workers", "2")
    answer = shell(*words, RAY_ADDRESS=cluster)
    assert answer.returncode == 1, answer.stderr
    assert "07.png" in answer.stderr
    assert pyarrow.parquet.read_table(many).equals(pyarrow.parquet.read_table(one))


def test_without_ray_the_way_to_it_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr(AnalyzerRecipe, "build", lambda recipe: fake_analyzer())
    Image.fromarray(red_face()).save(tmp_path / "a.png")
    assert main([str(tmp_path), "--engine", "ray"]) == 1
    assert "pip install 'ray>=2.40'" in capsys.readouterr().err
