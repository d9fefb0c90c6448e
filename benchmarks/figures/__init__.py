"""The results of measurements: JSON, tables, and a chart."""
