"""Runs a plan on Ray: extraction by Ray Data, trials by Ray Tune. The only room that imports ray."""
