"""Start the page in a Space, under its public host name, in a frame on the Hub."""

import os
import runpy
import sys
from pathlib import Path

host = os.environ.get("SPACE_HOST")
sys.argv[1:] = ["--host", "0.0.0.0", "--framed-by", "https://huggingface.co"]
if host:
    sys.argv += ["--trusted-host", host]
runpy.run_path(str(Path(__file__).with_name("app.py")), run_name="__main__")
