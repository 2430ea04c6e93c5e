"""Floor 3: what the provider adds to the bare API: contacts found or created, complete exports, columns."""
