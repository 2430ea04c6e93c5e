"""Floor 4: lead files: their formats, and publishing them whole."""
