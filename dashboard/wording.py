"""Numbers as people read them."""


def duration_text(seconds: float | None) -> str:
    """Such as ``45 s``, ``12 min``, ``3 h 20 min``; a dash where nothing is known."""
    if seconds is None:
        return "–"
    if seconds < 0.95:
        return f"{seconds:.1f} s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 100:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def percent_text(share: float | None) -> str:
    """A share of 1 with one decimal; a dash where nothing is known."""
    return "–" if share is None else f"{share * 100:.1f} %"


def size_text(byte_count: float) -> str:
    """Such as ``3.2 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if byte_count < 1000 or unit == "GB":
            return f"{byte_count:.0f} {unit}" if unit == "bytes" else f"{byte_count:.1f} {unit}"
        byte_count /= 1000
    raise AssertionError
