"""Steps 7 and 8: perform effects, and keep a receipt for each."""
