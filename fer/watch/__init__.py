"""Cameras watched for days: the log, alerts and what they set off."""
