"""The common parts of the benchmarks: cases, turns, reports, the machine, compiling C, and server processes.

The names have one meaning each:

``Case``     an operation that both codecs have (``cases.py``)
``Subject``  a thing that is sampled in turns with others (``race.py``)
``Bar``      a figure that the project promises (``report.py``)
``Program``  the code of a server process (``program.py``)
``Server``   such a process (``server.py``)
``Load``     the messages that it echoes (``echoes.py``)
"""
