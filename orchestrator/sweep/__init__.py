"""Search spaces and plans: what is asked for, what is there, what is missing. Pure but for reading the store."""
