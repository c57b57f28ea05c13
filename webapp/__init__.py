"""The parts of the web page, one module per tab."""
