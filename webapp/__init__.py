"""The parts of the web page, one module a tab."""
