"""Schedulers held against one another on a user's own model and prompts, and the page that shows it.

`compare` draws, `Comparison` is what came out. Everything on the page is made from `compare.json`, the document of
`result.Comparison.document`.
"""
