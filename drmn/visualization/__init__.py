"""Where a trained network looks, as pictures; knows neither Ray nor MLflow."""
