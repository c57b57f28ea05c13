"""Numbers formatted for display."""


def duration_text(seconds: float | None) -> str:
    """Format a duration, such as ``45 s``, ``12 min``, ``3 h 20 min``; a dash if unknown."""
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
    """Format a share in [0, 1] in percent with one decimal; a dash if unknown."""
    return "–" if share is None else f"{share * 100:.1f} %"


def size_text(byte_count: float) -> str:
    """Format a size, such as ``3.2 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if byte_count < 1000 or unit == "GB":
            return f"{byte_count:.0f} {unit}" if unit == "bytes" else f"{byte_count:.1f} {unit}"
        byte_count /= 1000
    raise AssertionError
