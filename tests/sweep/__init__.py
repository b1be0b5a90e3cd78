"""Every pipeline class of the installed Diffusers that has a scheduler, built tiny, run, and compared.

    python -m pytest tests/pipelines/test_sweep.py            # or `make sweep`

A class is built from its constructor: each parameter's annotation names a class, and `parts` has a tiny one for it. How
it is called is read from the signature of its call. What cannot be read stands as a `Recipe` in `recipes`.
"""
