"""Backups of the catalog.

copy.py       a consistent copy of a catalog that is being served
manifest.py   what is known of one backup
places.py     where backups lie: a directory, az://container/prefix
retention.py  which of them are kept
backups.py    take, list, fetch and prune them
restore.py    one of them into place
schedule.py   the process of a catalog replica that takes them
metrics.py    how old the newest is
"""
