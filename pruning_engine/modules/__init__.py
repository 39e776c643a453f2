"""The interface of `torch.nn.utils.prune`, on modules."""
