"""Arrow Flight SQL to its clients: its messages, and its calls as statements of the pipeline."""
