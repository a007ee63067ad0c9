"""Networks: keyword arguments in; no loss, no config, no device, no file."""
