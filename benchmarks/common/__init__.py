"""What the benchmarks share: cases, taking turns, reports, the machine, compiling C, and server processes.

The names have one meaning each:

``Case``     an operation that both codecs do (``cases.py``)
``Subject``  a thing that is sampled in turns with others (``race.py``)
``Bar``      a promise that a figure is held against (``report.py``)
``Program``  what a server process runs (``program.py``)
``Server``   such a process (``server.py``)
``Load``     the messages that it echoes (``echoes.py``)
"""
