"""What a module lists of its parameters, buffers and submodules."""
