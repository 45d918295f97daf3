"""Where a number comes from, whether it still holds, and how to count it again."""
