"""Networks trained on a schedule that adapts to them."""
