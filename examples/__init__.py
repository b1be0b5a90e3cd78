"""Scripts to read and to run, each as `python examples/NAME.py`.

Those that import none of the others are also imported from the root of the repository, as `examples.NAME`.
"""
