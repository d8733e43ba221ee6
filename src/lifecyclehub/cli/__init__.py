"""The command line. `serve` stands apart: it loads nothing that only the other commands need."""
