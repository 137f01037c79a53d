"""What several commands need to find something out or to tell it."""
