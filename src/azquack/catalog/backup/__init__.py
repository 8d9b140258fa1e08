"""Backups of the catalog.

copy.py       a consistent copy of a catalog that is being served
manifest.py   what is known of one backup
note.py       what a restore leaves in their place
places.py     where backups lie: a directory, az://container/prefix
inventory.py  what lies in a place, whole, damaged or of another lake, in its order
record.py     what the catalog knows of the places of its backups
retention.py  which of them are kept
backups.py    take, list, fetch and prune them
restore.py    one of them into place
__main__.py   the process of a catalog replica that has them taken
schedule.py   when a backup run starts
file_stats.py what files show of having been written to
runner.py     starts a run
run.py        one run, a process of its own
status.py     the status of the backups
metrics.py    that, for Prometheus
"""
