"""Folders of images: listings, records, tables, Ray workers."""
