"""The catalog's life: link, lease, epochs, backup, check, maintenance, upgrade, adoption."""
