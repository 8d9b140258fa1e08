"""What a library would cost in the place of a part that was written by hand: `make bench-decisions`.

Each module is one question of `docs/decisions/`. The libraries have requirements of their own
(`requirements/decisions.txt`), which no replica installs. Every figure is a ratio to our own part, from the same run:
round after round through all contenders, each in turn first.
"""
