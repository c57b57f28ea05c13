"""The console command ``kv-fer`` of the installed package."""

import sys
from importlib.metadata import PackageNotFoundError, distribution


def main() -> int:
    """Run ``python -m fer``, unless another package has overwritten it.

    Returns:
        The exit status.
    """
    clash = describe_clash()
    if clash is not None:
        print(f"error: {clash}", file=sys.stderr)
        return 1
    from fer.__main__ import main as run  # noqa: PLC0415 - may have been overwritten by the other package

    return run()


def describe_clash() -> str | None:
    """Return an error sentence if another installed package uses the import name ``fer``, otherwise None."""
    try:
        other = distribution("fer")
    except PackageNotFoundError:
        return None
    return (
        f"the package fer {other.version} is installed here as well, and both use the import name 'fer'; run "
        "pip uninstall fer, then pip install --force-reinstall --no-deps kv-facerecognition, "
        "or keep them in two environments"
    )
