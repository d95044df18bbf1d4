"""Floor 5: what ``twistd`` runs: options, and the services put together from them."""
