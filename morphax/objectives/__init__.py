"""Functions that training minimises and figures of merit: `losses`, `regularizers`, `metrics`."""
