"""The models of the attention literature, all acting in and scored by glimpse_env's environments."""
