"""The contract kit: a pytest plugin for connector authors."""
