"""Runs made of the weights of other people's code: `ganforge import`."""
