"""What `turnlab modules new` writes."""
