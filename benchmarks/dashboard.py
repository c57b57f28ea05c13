"""Time opening and redrawing the dashboard's page of runs for a folder of many long runs."""

import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from toy_runs import write_toy_run  # noqa: E402

from training.command import run_command  # noqa: E402


@dataclass(frozen=True)
class Options:
    """Size of the folder of runs.

    Attributes:
        runs: Number of runs.
        epochs: Epochs of each.
        redraws: Number of timed redraws.
    """

    runs: int = 200
    epochs: int = 300
    redraws: int = 7


def page(runs: str, data: str) -> None:
    from pathlib import Path  # noqa: PLC0415 - this function is run as a separate script

    from dashboard import runs as page  # noqa: PLC0415
    from dashboard.places import Places  # noqa: PLC0415

    page.show(Places(Path(runs), Path(data)), print, print)


def main(options: Options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder) / "runs"
        for number in range(options.runs):
            write_toy_run(runs / f"202601{number:04d}_kv_fast", options.epochs, seed=number)
        app = AppTest.from_function(page, default_timeout=60, kwargs={"runs": str(runs), "data": folder})
        empty = AppTest.from_function(
            page, default_timeout=60, kwargs={"runs": folder + "/none", "data": folder}
        )
        empty.run()  # imports of Streamlit and the modules are not measured
        started, worked = time.perf_counter(), time.process_time()
        app.run()
        opened, opened_cpu = time.perf_counter() - started, time.process_time() - worked
        assert not app.exception
        assert len(app.dataframe[0].value) >= options.runs
        redraws, redraws_cpu = [], []
        for number in range(options.redraws):
            app.slider(key="runs_smoothing").set_value(0.05 * (number + 1))
            started, worked = time.perf_counter(), time.process_time()
            app.run()
            redraws.append(time.perf_counter() - started)
            redraws_cpu.append(time.process_time() - worked)
    print(f"{options.runs} runs of {options.epochs} epochs, wall (processor):")
    print(f"open {opened:.2f} s ({opened_cpu:.2f} s)")
    print(f"redraw median {statistics.median(redraws):.2f} s ({statistics.median(redraws_cpu):.2f} s)")


if __name__ == "__main__":
    sys.exit(run_command(Options, main, "benchmarks.dashboard", description=__doc__))
