"""The one HTTP module: everything that goes out to a vendor goes through `Client.send`."""
