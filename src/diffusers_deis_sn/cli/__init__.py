"""The command `deis-sn`."""
