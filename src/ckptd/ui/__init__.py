"""Draws a picture of progress; decides nothing."""
