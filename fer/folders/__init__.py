"""Folders of pictures: what they hold, records of it, tables, a cluster."""
