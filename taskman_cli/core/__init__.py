"""The pure heart: no I/O, no clock, no threads, no logging. Time always comes in as an argument."""
