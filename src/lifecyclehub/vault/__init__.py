"""Secrets at rest: sealed with a key that lives outside the database, bound to the place they belong to."""

from lifecyclehub.vault.vault import KEY_VARIABLE, Secret, Vault, VaultError

__all__ = ["KEY_VARIABLE", "Secret", "Vault", "VaultError"]
