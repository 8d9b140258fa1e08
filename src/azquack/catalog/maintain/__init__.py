"""`azquack maintain`: small files merged, old snapshots expired, what nobody needs deleted.

lake.py    a DuckDB of our own with the lake attached
bounds.py  how old a thing must be before it goes, and whether the clocks agree
protection.py  what the running catalog and the kept backups say must stay
deletion.py  the one way in which files are deleted
steps.py   the steps, table by table
report.py  what it came to
"""
