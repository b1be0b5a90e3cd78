"""`python -m diffusers_deis_sn`, for launchers that start modules: the command `deis-sn`."""

from __future__ import annotations

from diffusers_deis_sn.cli.app import main

if __name__ == "__main__":
    main()
