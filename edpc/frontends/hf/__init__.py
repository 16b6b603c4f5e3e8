"""Model configurations: a transformers `config.json` becomes its architecture on the meta device, and that an ATen program.

Nothing is downloaded, no code of a model's author runs, no weight exists. transformers is imported only when a configuration is
read, and only by `library`; everything of PyTorch goes through `edpc.frontends.fx`.
"""
