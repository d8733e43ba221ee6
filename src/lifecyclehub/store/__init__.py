"""The store: tables, and the executor that runs operations on lists in grouped commits."""
