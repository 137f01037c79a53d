"""What a person sees in a terminal: a pure `render`, and a thread that draws. Rich is imported only here."""
