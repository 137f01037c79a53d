"""Code that several commands share, beside arguments and options."""
