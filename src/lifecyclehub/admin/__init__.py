"""What an admin does to an installation, whether from the command line or through the API."""
