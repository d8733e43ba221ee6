"""What the hub knows and why, read only: status, explain, client and engagement views."""
