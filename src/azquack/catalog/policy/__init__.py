"""What a catalog accepts: the statements of DuckLake and of AzQuack, and nothing else."""
