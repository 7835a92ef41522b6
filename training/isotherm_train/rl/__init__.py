"""Offline reinforcement learning of a controller of setpoints, on logs of `isotherm bench log`."""
