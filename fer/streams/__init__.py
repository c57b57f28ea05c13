"""Analysis of video streams: face search, tracking, smoothing over time."""
