"""Throw-away stand-ins for what a pair finds in Azure and elsewhere.

    azurite.py        Blob Storage: Azurite, plain or over TLS with OAuth
    identity.py       the managed identity endpoint of Container Apps
    vault.py          Key Vault over HTTPS
    postgres.py       a PostgreSQL cluster
    authority.py      certificates that no file in git holds
    azure.py          the first three together, and the environment that points a process at them
    fixtures.py       all of them as pytest fixtures

`python -m tests.standins` runs Azure's three until its standard input closes.
"""
