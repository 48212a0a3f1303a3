"""The routes of the screen: a form in, a verb, fragments out."""
