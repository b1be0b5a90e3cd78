"""Every member of the DEIS family on three problems: error against network calls."""
