"""The packages that wsfast plugs into, with wsfast in place and without."""
