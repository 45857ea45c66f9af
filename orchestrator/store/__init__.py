"""What is kept: embeddings, shots, failures and the trial ledger, as atomic files on any filesystem."""
