"""The report: tables, curves, samples and pages, from stored results only."""
