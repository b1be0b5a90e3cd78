"""A page on this machine that draws one prompt by two schedulers, side by side; `deis-sn serve` opens it.

Needs the extra `web`: pip install "diffusers-deis-sn[web]".
"""
