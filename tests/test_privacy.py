import os
import subprocess
import sys


def test_reading_a_face_writes_nothing_into_the_home(repository, tmp_path):
    """ONNX Runtime keeps usage events in the home unless it is told not to."""
    code = "import fer; import onnxruntime; onnxruntime.SessionOptions()"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_"))}
    environment |= {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], cwd=repository, env=environment, check=True, timeout=60)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
