"""What a campaign found, for people: one self-contained page, and a summary for the terminal."""
