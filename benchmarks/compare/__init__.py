"""Two installed versions of wsfast, measured in turns: ``python -m benchmarks.compare --base DIR --head DIR``.

``suites.py`` says what is measured, ``worker.py`` measures the codec inside the process of one version, ``judging.py``
turns samples into a ratio and its noise, and ``__main__.py`` is the command.
"""
