"""Crontabs: reading them as job files, importing and exporting them."""
