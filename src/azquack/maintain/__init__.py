"""`azquack maintain`: small files merged, old snapshots expired, what nobody needs deleted.

lake.py    a DuckDB of our own with the lake attached
bounds.py  what must stay, for running statements and for kept backups
steps.py   the steps, table by table
report.py  what it came to
"""
