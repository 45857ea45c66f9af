"""MLflow as a view of the trial ledger: the only room that imports mlflow."""
