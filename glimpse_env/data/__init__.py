"""What environments show: data files, labelled images and people's own pictures."""
