"""Pruning methods that need statistics of the inputs, one page per paper: functions over matrices.

They know nothing of parameters, rules or files. In all of them W is a matrix (R, C) whose rows are outputs, `keep` a
boolean matrix (R, C), True = unpruned, and H = XᵀX (C, C) the Gram matrix of a layer's inputs X (tokens, C).
"""
