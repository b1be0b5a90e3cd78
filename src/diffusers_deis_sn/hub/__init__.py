"""Where files of statistics are: here, in a folder, or on the Hub. Names and downloads, no numbers."""
