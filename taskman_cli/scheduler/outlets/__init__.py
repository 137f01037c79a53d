"""Deliveries of results to sinks, as the loop sees them."""
