"""Training of the project's own face detector."""
