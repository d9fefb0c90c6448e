"""A project that calls wsfast from Cython; the installed wsfast is all it knows of it."""

from Cython.Build import cythonize
from setuptools import Extension, setup

setup(ext_modules=cythonize([Extension("borrower", ["borrower.pyx"])], language_level=3))
