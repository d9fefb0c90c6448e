"""The packages that wsfast plugs into, with wsfast and without."""
