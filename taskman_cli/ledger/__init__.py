"""The durable record, in SQLite: the journal of all that happened, and what is so because of it.

`schema.py` has the tables and their migrations, `store.py` the file, `writer.py` what goes in, `standing.py`
what a scheduler needs to go on, `reader.py` what people ask. The scheduler is the only writer.
"""
