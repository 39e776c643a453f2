"""Finding how much of a model can be pruned, by the caller's own evaluation of it.

`bracket` is the search over one number, `shares` divides an amount among groups by their measured sensitivity, `trials`
prunes and restores the model, `result` is what is found, with its table and plot, and `verbs` puts them together.
"""
