"""What a fleet in a registry is: what tags named and may name again, and what is promoted elsewhere."""
