"""The tests. They are not installed: ``trial tests`` runs those of the checkout."""
