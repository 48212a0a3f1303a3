"""How sync stands, in words and numbers: for the screen, the shell and the API alike."""
