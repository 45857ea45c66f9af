"""Tables and plots of a sweep, made from the trial ledger alone."""
