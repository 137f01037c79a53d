"""The durable record, in SQLite: the journal of all that happened, and the state that follows from it.

`schema.py` has the tables and their migrations, `store.py` the file, `writer.py` what goes in, `standing.py`
what the next scheduler continues from, `queries/` what people ask. The scheduler is the only writer.
"""
