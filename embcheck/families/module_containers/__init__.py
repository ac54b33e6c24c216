"""ModuleList, ModuleDict, ParameterList and ParameterDict."""
