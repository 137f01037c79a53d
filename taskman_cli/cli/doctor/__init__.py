"""What `taskman doctor` looks at: for each check a look, which only gathers, and a pure judgement."""
