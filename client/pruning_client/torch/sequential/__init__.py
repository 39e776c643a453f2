"""Pruning a model block by block: each block's statistics are collected on what the pruned blocks before it produce.

`blocks` finds the blocks and how they are called, `block_rules` restricts rules to one block, `saved_blocks` is the
folder from which an interrupted run goes on, `steps` is the procedure without any call, and `verbs` carries it out with
a client, or awaits it.
"""
