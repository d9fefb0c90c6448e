"""What was measured: results as JSON, tables, and a chart."""
