"""What people's commands read from the ledger."""
