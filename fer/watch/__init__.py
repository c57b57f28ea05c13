"""Watch cameras for days: log, alerts and their actions."""
