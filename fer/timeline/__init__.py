"""Expressions over time: table, spans, chart, files."""
