"""The doors for HTTP: hooks, the API, health."""
