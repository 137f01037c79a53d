"""Figures for monitoring: collected from a running scheduler, as text, served over HTTP or in a file."""
