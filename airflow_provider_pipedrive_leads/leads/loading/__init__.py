"""Loading leads: wanted rows compared with present leads, and only the differences written."""
