"""Statistics of the inputs of a model's layers: what calls send beside the weights. Needs no torch and no numpy.

`statistics` is the value, `file` its safetensors file, `merging` adds two of them (in numpy), and `imatrix` reads
llama.cpp's files. `pruning_client.torch.collect_statistics` collects them from a model.
"""
