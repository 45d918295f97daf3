"""`rlvr doctor`: what is installed, what this machine has, and what to do about what it lacks."""
