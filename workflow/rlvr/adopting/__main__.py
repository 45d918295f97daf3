"""Adopts the results of an experiment; the arguments are handed to snakemake. See `rlvr adopt --help`."""

import sys

from rlvr.adopting import adopt
from rlvr.errors import RlvrError
from rlvr_plugins.manager import PluginError

if __name__ == "__main__":
    try:
        print(adopt.run(sys.argv[1:]))
    except (RlvrError, PluginError) as error:
        sys.exit(f"rlvr adopt: {error}")
