"""What the user feels: judged from the words, the voice and the face."""
