"""The command ``kv-fer`` of an installed package."""

import sys
from importlib.metadata import PackageNotFoundError, distribution


def main() -> int:
    """Run ``python -m fer``, unless another package has taken its name.

    Returns:
        The exit status.
    """
    clash = describe_clash()
    if clash is not None:
        print(f"error: {clash}", file=sys.stderr)
        return 1
    from fer.__main__ import main as run  # noqa: PLC0415 - the other package's files may lie in its place

    return run()


def describe_clash() -> str | None:
    """Return a sentence if another installed package uses the import name ``fer``, else None."""
    try:
        other = distribution("fer")
    except PackageNotFoundError:
        return None
    return (
        f"the package fer {other.version} is installed here as well, and both use the import name 'fer'; run "
        "pip uninstall fer, then pip install --force-reinstall --no-deps kv-facerecognition, "
        "or keep them in two environments"
    )
