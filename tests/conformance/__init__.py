"""The frameworks' own suites and linkspan's, run on linkspan's classes."""
