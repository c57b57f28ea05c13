"""The dashboard: data sets, trainings, runs and models."""
