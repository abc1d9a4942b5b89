"""The models of the attention literature, a file a family, each beside the settings that build it."""
