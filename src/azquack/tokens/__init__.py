"""Where a token comes from.

    environment.py    AZQUACK_PUBLIC_TOKEN and AZQUACK_INTERNAL_TOKEN
    files.py          files that somebody put there, or that the first start makes
    keyvault.py       Azure Key Vault
    configured.py     the one that the settings name

A source gives the public and the internal token, and any further secret by its name.
"""
