"""Checks of a machine, a folder of results, a cluster or the file that describes one."""
