"""The plots of the report, as plain Plotly figures (data and layout) that a browser draws."""
