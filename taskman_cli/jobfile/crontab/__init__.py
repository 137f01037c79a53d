"""Crontabs: read as job files, imported, and written."""
