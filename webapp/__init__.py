"""The web page, one module per tab."""
