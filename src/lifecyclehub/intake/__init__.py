"""Steps 1 to 6: receive, verify, keep, split and fetch, settle, decide. A module for each."""
