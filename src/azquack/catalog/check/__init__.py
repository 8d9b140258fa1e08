"""`azquack check`: what is wrong with a lake.

    finding.py   rules and findings
    rules.py     what can be wrong inside the metadata, as SQL
    files.py     metadata against the files that are there
    footers.py   metadata against what the Parquet files say of themselves
    deletes.py   deletions against their files, and against each other
    inlined.py   rows in the catalog against what Parquet keeps of them
    deep.py      what only reading every page and row shows
    metadata.py  those rules over one copy of a catalog
    checks.py    all of it over one copy of a catalog
    repair.py    what can be mended without loss

It works on a copy, taken in one transaction: a lake that is written to meanwhile raises no false alarm.
"""
