"""Measurements: every figure in the documents comes from one of these."""
