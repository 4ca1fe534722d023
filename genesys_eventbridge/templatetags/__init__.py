"""What the templates of our pages load."""
