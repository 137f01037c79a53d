"""The same engine on a virtual clock, with virtual commands on a virtual machine. Nothing is executed."""
