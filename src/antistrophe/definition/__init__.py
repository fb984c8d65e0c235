"""What users define: steps, sagas, events, and the checks on them."""
