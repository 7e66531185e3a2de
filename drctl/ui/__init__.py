"""What a person sees and is asked: the live terminal, the questions, the texts."""
