"""The log: which lines there are, in which form, and how they get out without delaying the loop."""
