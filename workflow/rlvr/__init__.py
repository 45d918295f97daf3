"""The Python that the workflow's rules run."""
