"""The config.json of a model that has lost layers.

`fields` is the table of every field that is about single layers, `edited` applies it, `lists` cuts lists and dicts,
`patterns` decides whether a pattern that repeats over the layers still holds, and `references` renames and shifts what
other parts of the config say of the layers.
"""
