"""The live view in a terminal: a pure `render`, and a thread that draws. Only this package imports Rich."""
