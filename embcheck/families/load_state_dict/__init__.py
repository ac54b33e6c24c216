"""Module.load_state_dict."""
