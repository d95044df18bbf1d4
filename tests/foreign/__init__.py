"""Other people's servers behind ``net:`` and ``nettls:``: run ``python -m tests.foreign``."""
