"""Takes over results that were made elsewhere, once all of them are verified, so that Snakemake has nothing to do."""
