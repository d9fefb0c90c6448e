"""Two installed versions of wsfast, measured in turns: ``python -m benchmarks.compare --base DIR --head DIR``.

``suites.py`` lists the measurements. ``worker.py`` measures the codec inside the process of one version. ``judging.py``
turns samples into a ratio and its noise. ``__main__.py`` is the command.
"""
