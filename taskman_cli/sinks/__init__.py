"""Receivers of results: what they get, what they promise, and those that come with taskman."""
