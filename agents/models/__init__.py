"""The models of the attention literature, one file a paper, each beside the settings that build it."""
